"""Opens cycles, seals datasets, writes specs and starts trainers.

    a cycle      handler, decide (moves of its state), opening (the order of calls), capacity, spending
    its data     counting (may it open?), window, drafting, scatter (in groups), seal (the dataset), sets (the spec)
    who judges   facts, history, past: what is known of recordings, so that what trained never judges; lineage
    a trainer    trainers (the port), build, problems; local, compute_engine/, cloud_run/ (its three implementations)
Nothing here judges a model or moves the alias. The sweeper carries cycles on by this code. Imports no other function.
"""
