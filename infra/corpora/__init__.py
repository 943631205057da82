"""What people bring: suites to judge models by, and the replay that keeps them from forgetting (`retune suite`, `retune replay`).

source.py         a folder or a manifest in, audio that models hear and its digests out [io]
admission.py      the wall between training and judging, and clips on their way into the store [io]
replay.py         the replay [io]
suites.py         suites and their versions [io]
suite_history.py  what verdicts said of a suite [io]
suite_size.py     what a test on a suite can show. Pure
suite_tables.py   suites for people
cli.py            both groups of commands
"""
