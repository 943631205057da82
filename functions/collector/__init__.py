"""Collects what production reports into the ledger of the open cycle.

The one function whose requests wait for each other (`batcher`), hence on an event loop. What a report is worth is nobody's question
here: it is taken (`checks`) or refused for good. Imports no other function; the level is looked at by `functions.crossing`.
"""
