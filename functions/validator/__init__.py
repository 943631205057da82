"""Judges a candidate on the evidence its training left behind.

    the shell       handler, judge (reads everything by its digest), announce (the event)
    what is counted pairing, counting, judged_set, changes, closure
    what it means   decide, on rules, gates, slices and serving; sizing, classic, limits say more and decide nothing
    what is told    set_numbers, report and its template
Beyond the shell everything is pure; the tests themselves are `shared.wer_*`. The one function that loads numpy and scipy at its start.
Imports no other function.
"""
