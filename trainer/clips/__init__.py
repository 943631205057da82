"""Clips: their audio fetched, decoded and checked, their references made into labels.

What cannot be used is set aside with a reason, never mended in silence. Nothing here knows of cycles or of training.

    load.py            a pinned clip -> audio on the disk, checked, with labels
    flac.py            FLAC whose header does not tell its length
    verbalise.py       numbers written out as they were spoken
    number_grammar.py  how each language writes and says them
"""
