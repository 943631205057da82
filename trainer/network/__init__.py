"""A wav2vec2 CTC network: loaded from a folder, cut where training begins, run in batches, and its output read.

Nothing here knows of cycles or stores, and nothing is trained.

    folder_check.py  what of a model folder can be told before it is loaded
    model.py         a folder -> network, vocabulary, preprocessing
    forward.py       the forward pass in its parts
    features.py      the part below the cut, computed once and kept
    batching.py      which clips are computed together; padding
    prefetch.py      audio that threads decode ahead
    memory.py        how much fits at once, and smaller pieces where it did not
    decode.py        logits -> text, and text -> labels
    align.py         where a text lies in a clip's frames, and how sure each word is
"""
