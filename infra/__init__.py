"""Where Retune runs, and how people command it. May import everything; nothing imports it. `pyproject.toml` tells who in it imports whom.

*.tf, modules/, envs/, bootstrap/, tests/    Terraform for Google Cloud: README.md
bundle.py, policy_variable.py, readme.py     what Terraform and its README are made from (`make bundles policy inputs`)
pages/                                       pages of docs/ that are made from the code (`make pages`)
cli.py                                       `retune`: each command is here, in a `*_cli.py`, or in the `cli.py` of its folder
session, options, terminal, errors, people   what every command stands on: ports, options, answers, exit codes, asking and waiting
local/                                       one laptop: servers, the stack that runs the functions, speech, the demo
coordinator/                                 the same in one process, as a library
"""
