"""What a sealed dataset holds: every event once, with the best reference known, fresh or carried."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.dataset import Row, join
from shared.events import Event
from shared.splits import Split
from shared.testing.builders import correction, error, pin, sample, traffic
from shared.testing.clock import START

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
NOW = START + 2 * DAY


def seal(
    *events: Event, earlier: Sequence[Sequence[Row]] = (), learned: frozenset[int] = frozenset(), age: timedelta = 2 * DAY
) -> list[Row]:
    """Return the rows of the dataset after `earlier` (cycles 1, 2, ...), sealed `age` after the events."""
    return join(events, earlier, learned, range(1, len(earlier) + 1), START + age)


def find(rows: Sequence[Row], event_id: str) -> Row:
    (row,) = (row for row in rows if row.event_id == event_id)
    return row


def placed(row: Row, split: Split = "train", **fields: Any) -> Row:
    """Return a row as the end of a seal leaves it."""
    return row.model_copy(update={"audio": pin(1), "cluster": "c", "split": split, **fields})


def ids(rows: Sequence[Row]) -> set[str]:
    return {row.event_id for row in rows}


# one event, one row


def test_an_error_becomes_a_row_with_all_that_it_tells() -> None:
    (row,) = seal(error(1, error_type="name", duration_s=2.5, language="de", device="car kit", noise=7.5, model_version=4))
    assert row == Row(
        event_id="e1",
        kind="error",
        origin="fresh",
        occurred_at=START,
        utterance_id="u1",
        model_version=4,
        hypothesis="call back",
        reference="fall back",
        reference_provenance="human",
        audio_uri="gs://calls/u1.wav",
        weight=1.0,
        duration_s=2.5,
        error_type="name",
        language="de",
        device="car kit",
        noise=7.5,
        speaker="speaker:s1",
    )


def test_samples_corrections_and_traffic_become_rows_of_their_kind() -> None:
    rows = seal(sample(1), correction(2), traffic(3, 700, version=4))
    assert [(row.event_id, row.kind, row.origin) for row in rows] == [
        ("p1", "sample", "fresh"),
        ("c2", "correction", "fresh"),
        ("t3", "traffic", "fresh"),
    ]
    assert (rows[1].utterance_id, rows[1].reference, rows[1].reference_provenance) == ("u2", "fall back", "human")
    assert (rows[2].utterances, rows[2].model_version) == (700, 4)


@pytest.mark.parametrize(
    ("fields", "speaker"),
    [
        ({"speaker_id": "a", "session_id": "b"}, "speaker:a"),
        ({"speaker_id": None, "session_id": "b"}, "session:b"),
        ({"speaker_id": None}, None),
    ],
)
def test_a_speaker_stands_before_a_session_and_neither_is_taken_for_the_other(fields: dict[str, Any], speaker: str | None) -> None:
    assert seal(error(1, **fields))[0].speaker == speaker


@pytest.mark.parametrize(
    ("fields", "provenance"),
    [({}, "human"), ({"reference_provenance": "llm"}, "llm"), ({"reference": None, "reference_provenance": "llm"}, None)],
)
def test_a_reference_without_a_provenance_is_a_persons(fields: dict[str, Any], provenance: str | None) -> None:
    assert seal(error(1, **fields))[0].reference_provenance == provenance


def test_an_error_weighs_one_and_a_sample_the_inverse_of_its_rate() -> None:
    rows = seal(error(1), sample(2, sample_rate=0.25), sample(3, sample_rate=None))
    assert [row.weight for row in rows] == [1.0, 4.0, None]


def test_an_event_that_an_earlier_dataset_holds_is_not_consumed_again() -> None:
    first = [placed(row, "holdout") for row in seal(error(1))]
    assert ids(seal(error(1), error(2), earlier=[first])) == {"e2"}


# corrections


def test_a_correction_gives_its_error_a_reference_whichever_comes_first() -> None:
    for events in ([error(1, reference=None), correction(1)], [correction(1), error(1, reference=None)]):
        rows = seal(*events)
        assert (find(rows, "e1").reference, find(rows, "e1").reference_provenance) == ("fall back", "human")
        assert (find(rows, "c1").set_aside, find(rows, "c1").detail) == ("duplicate", "joined to its utterance")


def test_a_correction_of_another_utterance_changes_nothing() -> None:
    rows = seal(error(1, reference=None), correction(2))
    assert find(rows, "e1").reference is None
    assert find(rows, "c2").waiting


@pytest.mark.parametrize(
    ("own", "brought", "kept"),
    [
        ({"reference": None}, "llm", "brought"),
        ({"reference": "own", "reference_provenance": "llm"}, "human", "brought"),
        ({"reference": "own", "reference_provenance": "llm"}, "llm", "own"),
        ({"reference": "own", "reference_provenance": "human"}, "llm", "own"),
        ({"reference": "own", "reference_provenance": "human"}, "human", "own"),
    ],
)
def test_a_persons_word_wins_over_a_language_models_and_else_the_first(own: dict[str, Any], brought: str, kept: str) -> None:
    rows = seal(error(1, **own), correction(1, reference="brought", reference_provenance=brought))
    assert find(rows, "e1").reference == kept


def test_of_several_corrections_the_last_of_a_person_counts() -> None:
    rows = seal(
        error(1, reference=None),
        correction(1, event_id="a", reference="first", at=START),
        correction(1, event_id="b", reference="second", at=START + SECOND),
        correction(1, event_id="c", reference="guess", reference_provenance="llm", at=START + 2 * SECOND),
    )
    assert find(rows, "e1").reference == "second"
    assert {row.set_aside for row in rows if row.kind == "correction"} == {"duplicate"}


def test_a_sample_is_corrected_too_and_the_correction_still_waits_for_an_error() -> None:
    first = seal(sample(1), correction(1))
    assert find(first, "p1").reference == "fall back"
    second = seal(error(1, reference=None), earlier=[first])
    assert find(second, "e1").reference == "fall back"
    assert find(second, "c1").set_aside == "duplicate"


def test_a_sample_that_a_person_transcribed_gives_its_error_the_reference() -> None:
    rows = seal(error(1, reference=None), sample(1, reference="fall back"))
    assert (find(rows, "e1").reference, find(rows, "e1").reference_provenance) == ("fall back", "human")


def test_a_correction_that_came_in_an_earlier_cycle_is_joined_to_its_error() -> None:
    first = seal(correction(1))
    second = seal(error(1, reference=None), earlier=[first])
    assert find(second, "e1").reference == "fall back"
    assert [(row.event_id, row.origin) for row in second] == [("c1", "carried"), ("e1", "fresh")]
    assert ids(seal(earlier=[first, second])) == {"e1"}, "a joined correction waits no longer"


def test_a_correction_that_comes_in_a_later_cycle_is_joined_to_its_error() -> None:
    first = [placed(row) for row in seal(error(1, reference=None))]
    second = seal(correction(1), earlier=[first], learned=frozenset({1}))
    assert (find(second, "e1").origin, find(second, "e1").reference) == ("carried", "fall back")


# carried


def test_what_no_model_has_learned_is_carried_with_what_is_known_of_it() -> None:
    first = [placed(row) for row in seal(error(1))]
    (row,) = seal(earlier=[first])
    assert row == first[0].model_copy(update={"origin": "carried"})


@pytest.mark.parametrize("split", ["train", "dev"])
def test_what_the_stable_model_has_learned_is_not_carried_until_it_is_rolled_back(split: Split) -> None:
    first = [placed(row, split) for row in seal(error(1))]
    second = seal(error(2), earlier=[first], learned=frozenset({1}))
    assert ids(second) == {"e2"}
    assert ids(seal(earlier=[first, second], learned=frozenset({1, 2}))) == set()
    assert ids(seal(earlier=[first, second])) == {"e1", "e2"}


def test_what_was_carried_and_then_learned_is_done() -> None:
    first = [placed(row) for row in seal(error(1))]
    second = seal(earlier=[first])
    assert ids(second) == {"e1"}
    assert seal(earlier=[first, second], learned=frozenset({2})) == []


def test_a_reference_that_came_meanwhile_is_carried_on() -> None:
    first = [placed(row) for row in seal(error(1, reference=None))]
    second = seal(correction(1), earlier=[first])
    (third,) = seal(earlier=[first, second])
    assert (third.event_id, third.reference, third.audio) == ("e1", "fall back", pin(1))


def test_an_error_without_a_reference_is_carried_although_its_cycle_was_learned_or_it_is_held_out() -> None:
    first = [placed(row, "holdout") for row in seal(error(1, reference=None))]
    assert ids(seal(earlier=[first], learned=frozenset({1}))) == {"e1"}


def test_a_held_out_error_with_a_language_models_reference_waits_for_a_persons() -> None:
    # nobody may judge on it yet; without the error at hand a later correction would meet nothing
    first = [placed(row, "holdout") for row in seal(error(1, reference_provenance="llm"))]
    second = seal(correction(1, reference="a person's"), earlier=[first])
    assert (find(second, "e1").reference, find(second, "e1").reference_provenance) == ("a person's", "human")
    assert seal(earlier=[first], age=90 * DAY + SECOND) == []


def test_held_out_errors_with_a_reference_samples_and_traffic_are_never_carried() -> None:
    rows = seal(error(1), sample(2), traffic(3, 100))
    first = [placed(row, "holdout") if row.kind != "traffic" else row for row in rows]
    assert seal(earlier=[first]) == []


def test_what_was_set_aside_is_not_carried_even_if_an_earlier_dataset_held_it() -> None:
    first = [placed(row) for row in seal(error(1))]
    gone = seal(earlier=[first])[0].model_copy(update={"set_aside": "missing"})
    assert seal(earlier=[[gone]]) == []
    assert seal(earlier=[first, [gone]]) == []


@pytest.mark.parametrize("waits", [error(1, reference=None), correction(1)])
def test_an_error_waits_90_days_for_its_reference_and_a_correction_for_its_error(waits: Event) -> None:
    first = seal(waits)
    assert ids(seal(earlier=[first], age=90 * DAY)) == {waits.event_id}
    assert seal(earlier=[first], age=90 * DAY + SECOND) == []


def test_an_error_with_a_reference_is_carried_however_old_it_is() -> None:
    first = [placed(row) for row in seal(error(1))]
    assert ids(seal(earlier=[first], age=300 * DAY)) == {"e1"}


def test_every_earlier_dataset_needs_its_cycles_number() -> None:
    with pytest.raises(ValueError, match="zip"):
        join([], [[], []], frozenset(), [1], NOW)


# the same utterance again


def test_an_utterance_that_is_reported_twice_counts_once() -> None:
    rows = seal(error(1), error(1, event_id="again"))
    assert find(rows, "e1").set_aside is None
    assert (find(rows, "again").set_aside, find(rows, "again").detail) == ("duplicate", "reported before in e1")


def test_of_two_reports_that_with_the_stronger_reference_stays() -> None:
    weak = error(1, event_id="weak", reference_provenance="llm")
    rows = seal(error(1, event_id="none", reference=None), weak, error(1, event_id="strong"))
    assert [(row.event_id, row.set_aside) for row in rows] == [("none", "duplicate"), ("weak", "duplicate"), ("strong", None)]


def test_a_carried_error_makes_way_for_a_new_report_with_a_reference() -> None:
    first = [placed(row) for row in seal(error(1, reference=None))]
    rows = seal(error(1, event_id="again"), earlier=[first])
    assert [(row.event_id, row.set_aside) for row in rows] == [("e1", "duplicate"), ("again", None)]


def test_an_error_and_a_sample_of_one_utterance_both_stay() -> None:
    assert [row.set_aside for row in seal(error(1), sample(1))] == [None, None]
