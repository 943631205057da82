"""Models in the registry: `retune models`. What `infra.publish` brings to other tools is exported from there.

stored.py     which models there are, and what is known of each [io]
importing.py  a person's own model, brought in [io]
check.py      whether a stored model is what its manifest says [io]
diff.py       two models side by side
gc.py         files of models that nobody needs any more [io]
tables.py     models for people
cli.py        the commands
"""
