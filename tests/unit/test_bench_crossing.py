"""What the benchmark of crossings takes for missed, double and early."""

from tests.benchmarks.crossing import Repetition, _judged, summary

ONE = Repetition(cycle=1, waited_s=0.1, ticked=False, opened=1)


def test_announcements_of_one_event_are_one_crossing() -> None:
    judged = _judged(ONE, 5.0, [(5.1, "a"), (5.2, "a")])
    assert (judged.announced, judged.event_ids, judged.early) == (2, 1, False)
    assert summary([judged])["double"] == 0


def test_two_events_or_two_cycles_are_a_double_crossing() -> None:
    two_events = _judged(ONE, 5.0, [(5.1, "a"), (5.2, "b")])
    two_cycles = _judged(Repetition(cycle=1, waited_s=0.1, ticked=False, opened=2), 5.0, [(5.1, "a")])
    assert summary([two_events, two_cycles])["double"] == 2


def test_none_is_missed_and_one_before_the_last_error_is_early() -> None:
    figures = summary(
        [
            _judged(Repetition(cycle=1, waited_s=None, ticked=True, opened=0), 5.0, []),
            _judged(ONE, 5.0, [(4.9, "a")]),
            _judged(ONE, 5.0, [(5.1, "a")]),
            _judged(Repetition(cycle=1, waited_s=0.3, ticked=True, opened=1), 5.0, [(5.3, "a")]),
        ]
    )
    assert (figures["missed"], figures["early"], figures["not_opened"], figures["double"]) == (1, 1, 1, 0)
    assert (figures["by_collector"], figures["by_tick"], figures["collector_p50_s"]) == (2, 1, 0.1)
