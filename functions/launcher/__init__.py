"""Opens cycles, seals datasets, writes specs and starts trainers."""
