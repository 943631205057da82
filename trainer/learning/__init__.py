"""From clips to a better network: trained, its scale chosen on dev, exported; and what both models hear afterwards.

Nothing here knows of cycles: `trainer.attempt` and `trainer.finetune` both train with it.

    train.py         the loop
    settings.py      the config with every choice made
    identity.py      what tells one training from every other
    schedule.py      which clips at which step, and how fast
    step.py          the gradient of one step, in pieces that fit
    loss.py          what is minimised
    adapted.py       LoRA, or all weights: what is trained, and its scale
    group.py         several processes that train one model
    state.py         where a training stands, as a file
    checkpoint.py    that file in the store
    dev.py           the WER on dev while training goes on
    sweep.py         how much of the update to keep
    export.py        the candidate as a folder
    evaluate.py      what base and candidate hear in the clips that judge
"""
