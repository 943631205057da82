"""The ports in memory, a clock that is set, builders, servers on loopback, simulated traffic: for tests, benchmarks and the local stack.

Never part of a deployed function.
"""
