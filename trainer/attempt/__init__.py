"""One attempt of one cycle, from the spec to `result.json`.

Here the trainer meets the cycle's objects in the store; how to train is `trainer.learning`'s. `spec`, `store` and `upload` load no torch:
whoever trains by other means uses them, too.

    run.py           the attempt from its first look to its last word
    spec.py          spec, rows of clips and base model, each verified
    dataset.py       all sets, loaded and checked
    labelling.py     gold for errors without a reference
    follow.py        the other processes of a group
    smoke.py         a fresh process hears the same
    store.py         hypotheses, model and result, each written once
    upload.py        a model's files, never overwritten
"""
