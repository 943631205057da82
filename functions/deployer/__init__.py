"""Moves the production alias, on evidence or on a person's word."""
