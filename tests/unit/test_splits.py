"""The wall between the splits: one history a gap, with speakers whose hash is known."""

from itertools import count

import pytest

from shared.audio_source import AudioPin
from shared.placement import fit_to_judge
from shared.policy import Policy
from shared.splits import (
    Assignments,
    History,
    Member,
    Split,
    accompanied,
    assignments,
    cluster_of,
    linked,
    member,
    place,
    split_of,
)
from shared.testing.builders import pin
from shared.training import Clip

KEY = b"key"
POLICY = Policy(holdout_share=0.4, dev_share=0.2)


def by_hash(cluster: str) -> Split:
    return split_of(cluster, POLICY)


def name_in(split: Split, kind: str = "speaker") -> str:
    """Return a speaker or session whose hash falls into a split."""
    return next(f"{kind}:{n}" for n in count() if by_hash(cluster_of(KEY, speaker=f"{kind}:{n}")) == split)


TRAINS, JUDGES = name_in("train"), name_in("holdout")


def said(
    number: int, speaker: str | None = None, session: str | None = None, *, audio: AudioPin | None = None, heard: bool = True
) -> Member:
    """Return utterance `u<number>` with its own audio, as far as it is told."""
    sound = audio or (pin(number) if heard else None)
    return member(KEY, utterance_id=f"u{number}", audio=sound, speaker=speaker or session, session=session)


def sole(*members: Member, past: Assignments | None = None) -> list[Split | None]:
    """Return the split of each member; None = it is in conflict or not known."""
    placed = place(members, linked(past or {}, members), by_hash)
    return [next(iter(splits)) if len(splits) == 1 else None for splits in placed]


def used(*pairs: tuple[Member, Split]) -> dict[str, frozenset[Split]]:
    return assignments((one.identities, split) for one, split in pairs)


def test_whom_nobody_has_met_falls_where_the_hash_says() -> None:
    assert sole(said(1, TRAINS), said(2, JUDGES)) == ["train", "holdout"]


def test_an_utterance_that_was_trained_on_without_a_speaker_never_enters_the_holdout() -> None:
    past = used((said(1), "train"), (said(2, JUDGES), "holdout"))
    again, another = sole(said(1, JUDGES), said(3, JUDGES), past=past)
    assert again is None, "who spoke it judges: it is in conflict"
    assert another is None, "and who was trained on, as is told now, no longer judges"


def test_a_speaker_who_is_first_heard_of_by_a_known_recording_goes_with_it() -> None:
    assert sole(said(1, JUDGES), said(2, JUDGES), past=used((said(1), "train"))) == ["train", "train"]
    assert sole(said(2, TRAINS), said(1, TRAINS), past=used((said(1), "holdout"))) == ["holdout", "holdout"]


def test_who_is_told_late_of_what_judged_is_held_out_unless_they_were_trained_on() -> None:
    judged, late = said(1), said(1, TRAINS)
    assert sole(late, said(2, TRAINS), past=used((judged, "holdout"))) == ["holdout", "holdout"]
    once = linked(used((judged, "holdout")), [late])
    assert place([said(2, TRAINS)], once, by_hash) == [frozenset({"holdout"})], "also in a later cycle, of which they alone are heard"
    taught = linked(used((judged, "holdout"), (said(2, TRAINS), "train")), [late, said(2, TRAINS)])
    assert place([said(3, TRAINS), judged], taught, by_hash) == [frozenset({"train"}), frozenset({"holdout", "train"})]


def test_the_same_audio_under_another_id_is_the_same_recording() -> None:
    past = used((said(1), "train"))
    assert sole(said(9, audio=pin(1)), past=past) == ["train"]
    assert sole(said(9, JUDGES, audio=pin(1)), past={**past, **used((said(2, JUDGES), "holdout"))}) == [None]


def test_of_a_session_with_two_speakers_the_first_keeps_it_and_the_others_are_set_aside() -> None:
    assert sole(said(1, JUDGES, "session:s"), said(2, TRAINS, "session:s"), said(3, TRAINS)) == ["holdout", None, "train"]
    assert sole(said(1, TRAINS, "session:s"), said(2, JUDGES, "session:s")) == ["train", None]


def test_a_session_goes_where_its_known_speaker_is_also_when_the_speaker_is_told_only_sometimes() -> None:
    session = name_in("train", "session")
    assert sole(said(1, None, session), said(2, JUDGES, session)) == ["holdout", "holdout"]
    assert sole(said(3, None, session), past=used((said(2, JUDGES, session), "holdout"))) == ["holdout"]


def test_without_speaker_and_session_the_audio_decides_and_before_it_is_known_nothing_does() -> None:
    assert sole(said(1)) == [by_hash(cluster_of(KEY, speaker=f"audio:{pin(1).crc32c}:{pin(1).size_bytes}"))]
    assert place([said(1, heard=False)], {}, by_hash) == [frozenset()]


def test_a_split_stays_when_the_shares_change() -> None:
    assert sole(said(2, JUDGES), past=used((said(1, JUDGES), "dev"))) == ["dev"]


def test_what_data_from_before_the_firewall_has_in_two_splits_goes_into_none() -> None:
    assert sole(said(2, TRAINS), past=used((said(1, TRAINS), "train"), (said(3, TRAINS), "holdout"))) == [None]


def test_a_conflict_ties_nothing() -> None:
    # u9 says that a trained speaker and a held-out session belong together; the session's next utterance is held out all the same
    past = used((said(1, TRAINS), "train"), (said(2, None, "session:s"), "holdout"))
    assert sole(said(9, TRAINS, "session:s"), said(3, None, "session:s"), past=past) == [None, "holdout"]


def test_ids_and_digests_of_one_recording_carry_what_is_told_of_it_from_one_to_the_other() -> None:
    # u1's audio was trained on; u2 is the same audio; a report of u2 without audio tells the speaker
    told = [said(2, audio=pin(1)), said(2, JUDGES, heard=False)]
    splits = linked(used((said(1), "train"), (said(5, JUDGES), "holdout")), told)
    assert splits[cluster_of(KEY, speaker=JUDGES)] == {"train", "holdout"}
    assert splits[cluster_of(KEY, speaker="utterance:u2")] == {"train", "holdout"}


# the holdout in use


def clip(number: int, *, stratum: str = "traffic", provenance: str = "champion", speaker: str = JUDGES) -> Clip:
    return Clip.model_validate(
        {
            "utterance_id": f"u{number}",
            "cluster": cluster_of(KEY, speaker=speaker),
            "stratum": stratum,
            "audio": pin(number),
            "reference": "call back",
            "provenance": provenance,
            "weight": 10.0 if stratum == "traffic" else 1.0,
        }
    )


def test_a_served_hypothesis_is_no_reference_any_more_once_its_utterance_is_reported() -> None:
    history = History(reported=said(1).recording)
    assert fit_to_judge([clip(1), clip(2)], KEY, history) == [clip(2)]


def test_a_sample_with_a_persons_reference_becomes_an_error_of_weight_one_once_it_is_reported() -> None:
    (item,) = fit_to_judge([clip(1, provenance="human")], KEY, History(reported=said(1).recording))
    assert (item.stratum, item.weight, item.provenance) == ("errors", 1.0, "human")


@pytest.mark.parametrize("trained", [said(1), said(7, JUDGES)])
def test_whoever_was_trained_on_judges_no_longer(trained: Member) -> None:
    history = History(splits=used((trained, "train"), (said(2, "speaker:other"), "holdout")))
    other = clip(2, speaker="speaker:other")
    assert fit_to_judge([clip(1), other], KEY, history) == [other]


def test_every_speaker_that_was_told_of_a_recording_follows_its_split() -> None:
    told = [said(1, JUDGES), said(1, TRAINS), said(2, JUDGES)]
    first, second = accompanied([told[1], told[2]], told)
    assert first.company == said(1, JUDGES).company | said(1, TRAINS).company
    assert second == told[2]
    placed = place([first, second], {}, by_hash)
    assert placed == [frozenset({"train"}), frozenset({"train"})], "who was told first of what trains does not judge"
