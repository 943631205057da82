"""Who trains and who judges: splits, weights, duplicates by audio, and the holdout that accumulates."""

import hashlib
import hmac
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dataset import Row, clip, join
from shared.events import Event
from shared.holdout import accumulate, holdout_clips
from shared.placement import (
    PinOutcome,
    as_member,
    in_split,
    one_of_each,
    pinned,
    splits_of_told,
    tells,
    traffic_of,
    wants_split,
    weighed,
)
from shared.policy import Policy
from shared.splits import History, Split, assignments, cluster_of, merged, split_of
from shared.testing.builders import CALLS, correction, error, pin, sample, traffic
from shared.testing.clock import START
from shared.training import Clip

KEY = b"key"
POLICY = Policy(holdout_share=0.25, dev_share=0.25)
PINS: dict[str, PinOutcome] = {f"{CALLS}/u{number}.wav": pin(number) for number in range(100)}


NO_PAST = History()


def seal(*events: Event, pins: Mapping[str, PinOutcome] = PINS, policy: Policy = POLICY, past: History = NO_PAST) -> list[Row]:
    return placed(join(events, [], frozenset(), [], START), pins, past=past, policy=policy)


def placed(rows: Sequence[Row], pins: Mapping[str, PinOutcome], *, past: History = NO_PAST, policy: Policy = POLICY) -> list[Row]:
    known = one_of_each([weighed(row, traffic_of(rows).rate) for row in pinned(rows, pins)])
    told = {row.event_id: (as_member(row, KEY), wants_split(row)) for row in known if tells(row)}
    wanting = [event_id for event_id, (_, wants) in told.items() if wants]
    splits = dict(zip(wanting, splits_of_told([*told.values()], policy, past), strict=True))
    return [in_split(row, splits.get(row.event_id, frozenset()), KEY) for row in known]


def someone(split: Split) -> str:
    """Return a speaker of a split."""
    return next(f"x{n}" for n in count() if split_of(cluster_of(KEY, speaker=f"speaker:x{n}"), POLICY) == split)


def row(number: int, **fields: Any) -> Row:
    """Return the finished row of a held-out error with a person's reference."""
    known = {"event_id": f"e{number}", "kind": "error", "utterance_id": f"u{number}", "origin": "fresh", "occurred_at": START}
    heard = {"hypothesis": "call back", "reference": "fall back", "reference_provenance": "human", "weight": 1.0}
    placed = {"audio": pin(number), "cluster": f"c{number}", "split": "holdout"}
    return Row.model_validate({**known, **heard, **placed, **fields})


UNHEARD = {"kind": "sample", "reference": None, "reference_provenance": None, "weight": 10.0}


# split


def test_a_cluster_is_the_keyed_hash_of_the_speaker() -> None:
    # printf 'speaker:s1' | openssl dgst -sha256 -hmac key
    assert cluster_of(KEY, speaker="speaker:s1") == "0628b249e555f373770b901dc2c01f34"
    assert cluster_of(b"another key", speaker="speaker:s1") != cluster_of(KEY, speaker="speaker:s1")


@pytest.mark.parametrize(
    ("first_digits", "split"),
    [("0000", "holdout"), ("3fff", "holdout"), ("4000", "dev"), ("7fff", "dev"), ("8000", "train"), ("ffff", "train")],
)
def test_the_shares_lie_one_after_the_other_holdout_dev_train(first_digits: str, split: Split) -> None:
    assert split_of(first_digits.ljust(32, "0"), POLICY) == split


def test_four_thousand_speakers_fall_into_the_shares() -> None:
    # standard error of a share of 0.2 in 4,000: 0.0063
    splits = Counter(split_of(cluster_of(KEY, speaker=f"speaker:s{n}"), Policy()) for n in range(4000))
    assert splits["holdout"] / 4000 == pytest.approx(0.2, abs=0.02)
    assert splits["dev"] / 4000 == pytest.approx(0.15, abs=0.02)


def test_a_speaker_is_in_one_split_with_errors_and_samples_alike() -> None:
    rows = seal(error(1, speaker_id="ana"), sample(2, speaker_id="ana"), error(3, speaker_id="ana", session_id="monday"))
    assert {(each.cluster, each.split) for each in rows} == {(cluster_of(KEY, speaker="speaker:ana"), rows[0].split)}


def test_a_session_stands_for_an_unknown_speaker_and_the_audio_for_an_unknown_session() -> None:
    by_session, by_audio = seal(error(1, speaker_id=None, session_id="monday"), error(2, speaker_id=None))
    assert by_session.cluster == cluster_of(KEY, speaker="session:monday")
    assert by_audio.cluster == hmac.new(KEY, f"audio:{pin(2).crc32c}:{pin(2).size_bytes}".encode(), hashlib.sha256).hexdigest()[:32]


@pytest.mark.parametrize("split", ["train", "dev", "holdout"])
def test_a_speaker_of_a_regression_suite_neither_trains_nor_tunes(split: Split) -> None:
    speaker = someone(split)
    event = error(1, speaker_id=speaker)
    assert seal(event)[0].split == split
    suite = History(splits=assignments([({cluster_of(KEY, speaker=f"speaker:{speaker}")}, "holdout")]))
    assert seal(event, past=suite)[0].split == "holdout"


# what cannot be used


def test_audio_that_cannot_be_pinned_sets_its_row_aside_with_the_reason() -> None:
    (gone,) = seal(error(1), pins={f"{CALLS}/u1.wav": ("missing", "no such object " * 100)})
    assert (gone.set_aside, gone.audio, gone.split, gone.usable) == ("missing", None, None, False)
    assert gone.detail.startswith("no such object")
    assert len(gone.detail) == 300


def test_what_is_pinned_already_is_not_pinned_again() -> None:
    (carried,) = seal(error(1))
    (again,) = placed([carried], {})
    assert again == carried


def test_corrections_traffic_and_what_was_set_aside_pass_as_they_are() -> None:
    events = [correction(1), traffic(2, 100), error(3), error(3, event_id="again")]
    rows = join(events, [], frozenset(), [], START)
    finished = placed(rows, {f"{CALLS}/u3.wav": pin(3)})
    assert [finished[0], finished[1], finished[3]] == [rows[0], rows[1], rows[3]]


def test_the_same_audio_under_two_names_counts_once_per_kind() -> None:
    pins = {f"{CALLS}/u{n}.wav": pin(1).model_copy(update={"uri": f"{CALLS}/u{n}.wav"}) for n in (1, 2, 3)}
    first, second, sampled = seal(*(make(n, speaker_id="ana") for n, make in ((1, error), (2, error), (3, sample))), pins=pins)
    assert (first.set_aside, second.set_aside, sampled.set_aside) == (None, "duplicate", None)
    assert second.detail == "same audio as e1"
    assert (second.audio, second.cluster, second.split) == (pins[f"{CALLS}/u2.wav"], cluster_of(KEY, speaker="speaker:ana"), None)


def test_of_the_same_audio_the_report_with_the_stronger_reference_stays() -> None:
    pins = {f"{CALLS}/u{n}.wav": pin(1) for n in (1, 2, 3)}
    rows = seal(error(1, reference=None), error(2), error(3, reference_provenance="llm"), pins=pins)
    assert [each.set_aside for each in rows] == ["duplicate", None, "duplicate"]


def test_only_an_error_of_a_train_speaker_with_audio_and_a_reference_is_trainable() -> None:
    good = row(1, split="train")
    assert good.trainable
    for change in ({"split": "dev"}, {"split": None}, {"reference": None}, {"audio": None}, {"set_aside": "missing"}, {"kind": "sample"}):
        assert not row(1, **{"split": "train", **change}).trainable
    assert row(1, split="train", reference_provenance="llm").trainable


# weights


def test_a_sample_that_tells_no_rate_weighs_what_the_counted_traffic_says() -> None:
    # 2 samples of 40 + 10 utterances: a rate of 0.04, each stands for 25
    events = [sample(1, sample_rate=None), sample(2, sample_rate=0.5), traffic(3, 40), traffic(4, 10, version=1), error(5)]
    assert [each.weight for each in seal(*events)] == [25.0, 2.0, None, None, 1.0]


def test_a_sample_of_unknown_rate_without_counted_traffic_has_no_weight() -> None:
    assert seal(sample(1, sample_rate=None))[0].weight is None
    assert traffic_of([]).rate is None


def test_the_estimated_rate_counts_each_utterance_once_and_is_at_most_one() -> None:
    assert traffic_of(seal(sample(1), sample(1, event_id="again"), traffic(3, 10))).rate == 0.1
    assert traffic_of(seal(sample(1), sample(2), traffic(3, 1))).rate == 1.0


# holdout


def test_a_clip_tells_whose_word_its_reference_is() -> None:
    human = clip(row(1, duration_s=2.0), stratum="errors")
    assert human == Clip(
        utterance_id="u1", cluster="c1", stratum="errors", audio=pin(1), reference="fall back", provenance="human", duration_s=2.0
    )
    served = clip(row(2, **UNHEARD), stratum="traffic")
    assert (served.reference, served.provenance, served.weight) == ("call back", "champion", 10.0)


def test_a_clip_keeps_what_the_service_told_of_the_call() -> None:
    told = {"error_type": "name", "language": "de", "device": "headset", "noise": "street"}
    kept = clip(row(1, **told), stratum="errors")
    assert {field: getattr(kept, field) for field in told} == told


def test_the_holdout_takes_held_out_errors_and_unreported_samples() -> None:
    rows = [row(1), row(2, **UNHEARD), row(3, split="train"), row(4, split="dev"), row(5, set_aside="missing"), row(6, audio=None)]
    clips = list(holdout_clips(rows, judge_on_llm_gold=False))
    assert [(item.utterance_id, item.stratum, item.provenance, item.weight) for item in clips] == [
        ("u1", "errors", "human", 1.0),
        ("u2", "traffic", "champion", 10.0),
    ]


def test_an_error_without_a_persons_reference_judges_nothing_unless_the_policy_says_so() -> None:
    rows = [row(1, reference=None, reference_provenance=None), row(2, reference_provenance="llm")]
    assert list(holdout_clips(rows, judge_on_llm_gold=False)) == []
    assert [(item.utterance_id, item.provenance) for item in holdout_clips(rows, judge_on_llm_gold=True)] == [("u2", "llm")]


@pytest.mark.parametrize(
    ("provenance", "policy", "reference"),
    [("human", False, "fall back"), ("llm", False, "call back"), ("llm", True, "fall back")],
)
def test_a_sample_is_judged_on_a_persons_reference_or_else_on_the_served_hypothesis(provenance: str, policy: bool, reference: str) -> None:
    (item,) = list(holdout_clips([row(1, kind="sample", reference_provenance=provenance)], judge_on_llm_gold=policy))
    assert (item.stratum, item.reference) == ("traffic", reference)


def test_the_served_hypothesis_of_a_reported_utterance_is_nobodys_reference() -> None:
    for reported in (row(1), row(1, reference=None), row(1, set_aside="missing")):
        clips = list(holdout_clips([reported, row(1, event_id="p1", **UNHEARD)], judge_on_llm_gold=False))
        assert all(item.stratum == "errors" for item in clips)


def test_a_sample_of_unknown_weight_judges_nothing() -> None:
    assert list(holdout_clips([row(1, **{**UNHEARD, "weight": None})], judge_on_llm_gold=False)) == []


def clips(stratum: Any, *numbers: int) -> list[Clip]:
    return [clip(row(number), stratum=stratum) for number in numbers]


def names(found: Sequence[Clip]) -> list[tuple[str, str]]:
    return [(item.utterance_id, item.stratum) for item in found]


def test_an_utterance_that_was_reported_and_sampled_stays_reported_whichever_came_first() -> None:
    for batches in ([clips("errors", 1), clips("traffic", 1)], [clips("traffic", 1), clips("errors", 1)]):
        assert names(accumulate(batches, 10)) == [("u1", "errors")]


def test_the_cap_keeps_the_newest_utterances_each_once() -> None:
    batches = [clips("errors", 1, 2, 3), clips("errors", 4, 2)]
    assert names(accumulate(batches, 10)) == [("u1", "errors"), ("u3", "errors"), ("u4", "errors"), ("u2", "errors")]
    assert names(accumulate(batches, 2)) == [("u4", "errors"), ("u2", "errors")]
    assert accumulate([], 2) == []


# any history

utterances = st.fixed_dictionaries(
    {
        "speaker_id": st.sampled_from([None, "ana", "ben", "eva"]),
        "session_id": st.sampled_from([None, "monday"]),
        "reference": st.sampled_from([None, "fall back"]),
        "reference_provenance": st.sampled_from(["human", "llm"]),
    }
)
events = st.lists(
    st.one_of(
        st.builds(lambda n, fields: error(n, **fields), st.integers(0, 5), utterances),
        st.builds(lambda n, fields: sample(n, sample_rate=None, **fields), st.integers(0, 5), utterances),
        st.builds(correction, st.integers(0, 5)),
        st.builds(traffic, st.integers(0, 5), st.integers(0, 50)),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(st.lists(events, min_size=1, max_size=3), st.sets(st.integers(1, 3)), st.sets(st.sampled_from(["ana", "ben"])))
def test_over_any_cycles_every_event_is_fresh_once_and_no_cluster_is_in_two_splits(
    ledgers: list[list[Event]], learned: set[int], in_suites: set[str]
) -> None:
    suites = frozenset(cluster_of(KEY, speaker=f"speaker:{name}") for name in in_suites)
    of_suites = assignments([(suites, "holdout")])
    pins: dict[str, PinOutcome] = {**PINS, f"{CALLS}/u0.wav": ("missing", "gone"), f"{CALLS}/u2.wav": pin(1)}
    named = {f"{n}.{m}": event.model_copy(update={"event_id": f"{n}.{m}"}) for n, e in enumerate(ledgers) for m, event in enumerate(e)}
    sealed: list[list[Row]] = []
    for number in range(len(ledgers)):
        arrived = [event for name, event in named.items() if int(name[0]) <= number]  # what came before is delivered again
        rows = join(arrived, sealed, frozenset(learned), range(1, number + 1), START + timedelta(days=number))
        used_before = [(as_member(each, KEY).identities, each.split) for each in itertools.chain(*sealed) if each.split is not None]
        past = History(splits=merged(of_suites, assignments(used_before)))
        sealed.append(placed(rows, pins, past=past))
    every = [each for rows in sealed for each in rows]
    assert sorted(each.event_id for each in every if each.origin == "fresh") == sorted(named)
    assert all(len({each.event_id for each in rows}) == len(rows) for rows in sealed)
    used = [each for each in every if each.split is not None]
    assert all(each.split is None for each in every if each.set_aside is not None)
    assert all(len({each.split for each in used if each.cluster == cluster}) == 1 for cluster in {each.cluster for each in used})
    assert {each.split for each in used if each.cluster in suites} <= {"holdout"}
    for rows in sealed:
        usable = [(each.kind, each.utterance_id) for each in rows if each.usable]
        assert len(set(usable)) == len(usable)
