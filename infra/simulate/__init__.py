"""A policy tried on simulated or recorded traffic: the functions in memory, a modelled trainer, a clock that is set (`retune simulate`).

command.py               from what a person asks to a simulation
policies.py              which policies are compared
assumptions.py           what is taken for granted, and where each number comes from. Pure
measured.py, learning.py what training does, as modelled; and read off cycles that really ran [io]
calls.py, recorded.py    the calls: made up, or played again
speech.py                which words of which utterance which version gets wrong. Pure
world.py, trainers.py    the functions on in-memory ports, and trainers that exist only in the books
run.py, outcome.py       one policy's way through the calls, and what came of it
render.py, cli.py        for people, and the command
"""
