"""Moves the production alias, on evidence or on a person's word.

The only writer of `registry/`. `moves` says which move an event asks for, on what `evidence` finds and `checks` decides; the moves
themselves are `shared.registry`'s. Imports no other function.
"""
