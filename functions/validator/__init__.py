"""Judges a candidate on the evidence its training left behind."""
