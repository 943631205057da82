"""Fine-tuning on a folder of audio, without any cloud: evaluate, learn from the errors, evaluate again.

Nothing here knows of cycles or buckets. What is drawn or measured is pure: `split.py`, `numbers.py`.

    __main__.py      the run that the flags ask for
    options.py       the flags
    pipeline.py      the run, from the folder to the report
    output.py        what lies where in the output folder
    folder.py        a folder of audio with transcripts
    audio.py         audio of any rate and channel count
    measure.py       what the base model hears, and the references that there are
    gold.py          references from an endpoint
    split.py         who teaches, who chooses, who judges
    decisions.py     all that was decided: `run.json`
    prepare.py       from references to training sets
    training.py      train, choose the scale, write model and adapter
    numbers.py       error rates, and what may be said of their change
    report.py        the report as a document
    render.py        the same for people
"""
