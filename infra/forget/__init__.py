"""A person's audio and text out of everything that is stored: `retune forget`.

command.py  finds, refuses, records, removes and looks again [io]
places.py   where a person is met, and what each object would be without them [io]
redact.py   one person taken out of an object's bytes. Pure
"""
