"""Who teaches, who chooses and who judges."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.finetune.folder import CONDITIONS
from trainer.finetune.split import MIN_ERRORS, MIN_SPEAKERS, JudgedClip, NoSplit, Split, decide_split


def clips(speakers: int, each: int = 10, wrong_of_ten: tuple[int, int] = (2, 9)) -> list[JudgedClip]:
    """Return for every speaker `each` clips of both conditions in turn, of which so many in ten are wrong in clean and noisy."""
    found = []
    for speaker in range(speakers):
        for number in range(each):
            noisy = number % 2
            is_wrong = (number // 2 * 2 + speaker) % 10 < wrong_of_ten[noisy]
            found.append(JudgedClip(f"{CONDITIONS[noisy]}/{speaker}-{number}", CONDITIONS[noisy], f"s{speaker}", is_wrong))
    return found


def split(members: Sequence[JudgedClip], seed: int = 0) -> Split:
    decided = decide_split(members, seed)
    assert isinstance(decided, Split)
    return decided


def units(members: Iterable[JudgedClip], decided: Split) -> dict[str, set[str]]:
    """Return the parts that each speaker (else clip) is in."""
    parts: dict[str, set[str]] = {}
    for clip in members:
        name = clip.speaker if decided.unit == "speaker" and clip.speaker else clip.utterance_id
        parts.setdefault(name, set()).add(decided.parts[clip.utterance_id])
    return parts


def test_the_parts_have_about_their_shares_of_the_clips_and_of_the_errors_of_both_conditions() -> None:
    members = clips(40)
    decided = split(members)
    assert decided.unit == "speaker"
    assert decided.warnings == ()
    for chosen in (members, *([clip for clip in members if clip.wrong and clip.condition == name] for name in CONDITIONS)):
        counts = Counter(decided.parts[clip.utterance_id] for clip in chosen)
        assert counts["train"] / len(chosen) == pytest.approx(0.50, abs=0.05)
        assert counts["dev"] / len(chosen) == pytest.approx(0.15, abs=0.05)
        assert counts["holdout"] / len(chosen) == pytest.approx(0.35, abs=0.05)


def test_no_speaker_is_in_two_parts() -> None:
    members = clips(12)
    assert all(len(parts) == 1 for parts in units(members, split(members)).values())


def test_the_same_clips_and_seed_give_the_same_split_in_any_order() -> None:
    members = clips(12)
    assert split(members) == split(members[::-1])
    assert split(members, seed=1) != split(members, seed=2)


@pytest.mark.parametrize("speakers", [1, MIN_SPEAKERS - 1])
def test_few_speakers_are_divided_by_clip_with_a_warning(speakers: int) -> None:
    members = clips(speakers, each=30)
    decided = split(members)
    assert decided.unit == "clip"
    assert set(decided.parts.values()) == {"train", "dev", "holdout"}
    assert any("say nothing about other speakers" in warning for warning in decided.warnings)


def test_four_speakers_are_enough_to_divide_by_speaker() -> None:
    decided = split(clips(MIN_SPEAKERS))
    assert decided.unit == "speaker"
    assert sorted(Counter(next(iter(parts)) for parts in units(clips(MIN_SPEAKERS), decided).values()).values()) == [1, 1, 2]


def test_unknown_speakers_are_divided_by_clip_with_a_warning() -> None:
    members = [JudgedClip(clip.utterance_id, clip.condition, None, clip.wrong) for clip in clips(4)]
    decided = split(members)
    assert decided.unit == "clip"
    assert "No speaker is known" in decided.warnings[0]


def test_a_few_unknown_speakers_are_divided_one_by_one_with_a_warning() -> None:
    members = [*clips(8), JudgedClip("clean/x", "clean", None, wrong=True)]
    decided = split(members)
    assert decided.unit == "speaker"
    assert decided.warnings == ("1 clips without a speaker were drawn one by one: their speakers may be on both sides.",)


def test_a_model_without_errors_has_nothing_to_learn() -> None:
    decided = decide_split(clips(8, wrong_of_ten=(0, 0)), seed=0)
    assert isinstance(decided, NoSplit)
    assert decided.outcome == "nothing_to_learn"


def test_fewer_than_six_errors_are_too_few() -> None:
    members = [JudgedClip(f"clean/{number}", "clean", f"s{number}", number < MIN_ERRORS - 1) for number in range(20)]
    decided = decide_split(members, seed=0)
    assert isinstance(decided, NoSplit)
    assert decided.outcome == "too_few_errors"
    assert "found 5 of 20" in decided.reason


def test_what_a_part_lacks_is_said() -> None:
    only_noisy_errors = [JudgedClip(f"noisy/{number}", "noisy", f"s{number}", wrong=True) for number in range(12)]
    one_clean_error = JudgedClip("clean/0", "clean", "s0", wrong=True)
    warnings = split([*only_noisy_errors, one_clean_error]).warnings
    assert any("no clean clip with an error" in warning for warning in warnings)
    assert any("train has no clip that the model got right" in warning for warning in warnings)


@st.composite
def folders(draw: st.DrawFn) -> list[JudgedClip]:
    speakers = draw(st.integers(MIN_SPEAKERS, 8))
    counts = st.sampled_from([0, 0, 1, 3, 8])
    members = []
    for speaker in range(speakers):
        for condition in CONDITIONS:
            for wrong in (True, False):
                members += [
                    JudgedClip(f"{condition}/{speaker}-{wrong}-{number}", condition, f"s{speaker}", wrong) for number in range(draw(counts))
                ]
    return members


@settings(max_examples=150, deadline=None)
@given(folders(), st.integers(0, 9))
def test_train_and_holdout_have_errors_of_each_condition_that_two_speakers_have(members: list[JudgedClip], seed: int) -> None:
    decided = decide_split(members, seed)
    if isinstance(decided, NoSplit) or decided.unit == "clip":
        return
    for condition in CONDITIONS:
        wrong = [clip for clip in members if clip.wrong and clip.condition == condition]
        if len({clip.speaker for clip in wrong}) >= 2:
            assert {"train", "holdout"} <= {decided.parts[clip.utterance_id] for clip in wrong}
