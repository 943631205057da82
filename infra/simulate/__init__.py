"""A policy tried on simulated or recorded traffic: the real functions in memory, a modelled trainer, a clock that is set."""
