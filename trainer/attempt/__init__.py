"""One attempt of one cycle, from the spec to `result.json`.

Here the trainer meets the cycle's objects in the store; how to train is `trainer.learning`'s.

    run.py           `work` within `trainer.shell`
    work.py          spec, clips, training, evaluation, model, result
    spec.py          spec, rows of clips and base model, each verified
    dataset.py       all sets, loaded and checked
    labelling.py     gold for errors without a reference
    follow.py        the other processes of a group
    smoke.py         a fresh process hears the same
    upload.py        a model's files, never overwritten
"""
