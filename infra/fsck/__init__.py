"""Whether a store at rest agrees with itself: every inconsistency is found and named, and two are mended (`retune registry`).

books.py                  all that can be checked, as values. Pure
reading.py, ledgers.py    read the books, and ledgers that may be torn [io]
rules.py                  every rule, with what to do where it does not hold
*_rules.py, strays.py     what holds of events, cycles, the alias, and of objects that nobody knows. Pure
command.py                the check
rebuild_head.py, recollect.py   mend a lost head, and what was collected while it was lost [io]
cli.py                    the commands
"""
