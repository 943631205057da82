"""Datasets for people: what a seal would make, what a cycle's holds, and an export that other tools read."""
