"""What makes a clip another one each time it is trained on: masks over its features, and clean audio that sounds like the errors.

All randomness is an argument.

    variation.py     both, drawn from the config's seed and the place in the training
    spec_augment.py  masks over time and channels
    line.py          the errors' spectrum, noise and room, measured and laid over clean clips
    acoustics.py     echo, noise, equaliser: functions of samples
"""
