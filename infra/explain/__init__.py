"""Stories from the records: `retune explain`.

The records are read by `functions.views`, as for the console; here they are told on a terminal.

decision.py         why a cycle would or would not start now
cycle_story.py      what became of a cycle
version_story.py    what became of a version
utterance_story.py  what became of an utterance
cli.py              the command
"""
