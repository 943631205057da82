"""Messages that functions refused: `retune dlq`.

letters.py     dead letters: pulled, given back, published again [io]
drop.py        dead letters that a person gives up [io]
quarantine.py  what lies under `quarantine/`, which is never published again [io]
show.py        one refused message in full [io]
cli.py         the commands
"""
