"""Around the work of an attempt, whoever does it: the claim before, a sign of life meanwhile, the last word after.

No torch, no clips, no model: a person's own training function works in here, too.

    attempt.py       one attempt, and the world outside as the shell needs it
    carry.py         claim, work, last word; how a run ended
    heartbeat.py     a sign of life, and whether the cycle still wants the attempt
    progress.py      where the run is: bar, train log, numbers for the heartbeat
    preemption.py    SIGTERM as an exception, when it suits
    failures.py      the exceptions that end a run
    machine.py       the machine that the run is on, for its price
"""
