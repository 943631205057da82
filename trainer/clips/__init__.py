"""Clips: their audio fetched, decoded and checked, their references made into labels.

What cannot be used is set aside with a reason, never mended in silence. Nothing here knows how training goes.

    fetch.py           the stored bytes, or why a clip cannot be used
    audio.py           a file -> samples, or why it cannot be heard
    flac.py            FLAC whose header does not tell its length
    load.py            a pinned clip -> audio on the disk, and labels
    sets.py            what one training gets of them
    verbalise.py       numbers written out as they were spoken
    number_grammar.py  how each language writes and says them
"""
