"""In-memory ports, a settable clock, builders and Hypothesis strategies. Never part of a deployed function."""
