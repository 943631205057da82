"""Nobody who is trained on judges, and the other way round."""

from shared.corpora import CorpusClip, Crossing, Known, Newcomer, Wall, crossings, judging, trained
from shared.dataset import Row
from shared.splits import Assignments, audio_digest, cluster_of
from shared.testing import builders
from shared.testing.clock import START
from shared.training import Clip

KEY = b"a key that tests share"


def row(number: int, split: str, **fields: object) -> Row:
    document = {
        "event_id": f"e{number}",
        "kind": "error",
        "origin": "fresh",
        "occurred_at": START,
        "audio": builders.pin(number),
        "cluster": cluster_of(KEY, speaker=f"speaker:s{number}"),
        "split": split,
        **fields,
    }
    return Row.model_validate(document)


def corpus_clip(number: int) -> CorpusClip:
    return CorpusClip(utterance_id=f"u{number}", audio=builders.pin(number), reference="fall back", speaker=f"speaker:s{number}")


def newcomer(number: int, *names: str) -> Newcomer:
    pin = builders.pin(number)
    return Newcomer(f"clip{number}", names or (f"speaker:s{number}",), (f"{pin.crc32c}:{pin.size_bytes}",))


def met(known: Known, *newcomers: Newcomer, splits: Assignments | None = None) -> list[Crossing]:
    return list(crossings(newcomers, Wall(known, splits or {}, frozenset({"train", "dev"})), KEY))


def test_train_and_dev_of_any_cycle_and_the_replay_are_known_to_training() -> None:
    known = trained([(3, [row(1, "train"), row(2, "dev")])], [corpus_clip(3)], KEY)
    assert [each.where for each in met(known, *(newcomer(n) for n in (1, 2, 3)))] == ["cycle 3 (train)", "cycle 3 (dev)", "the replay"]


def test_holdout_samples_and_what_was_set_aside_teach_nobody() -> None:
    rows = [row(1, "holdout"), row(2, "train", kind="sample"), row(3, "train", set_aside="duplicate")]
    assert met(trained([(1, rows)], [], KEY), *(newcomer(n) for n in (1, 2, 3))) == []


def test_suites_and_holdout_are_known_to_judging() -> None:
    held = Clip(
        utterance_id="u2",
        cluster=cluster_of(KEY, speaker="speaker:s2"),
        stratum="errors",
        audio=builders.pin(2),
        reference="fall back",
        provenance="human",
    )
    known = judging({"clean": [corpus_clip(1)]}, [held], KEY)
    assert [each.where for each in met(known, newcomer(1), newcomer(2), newcomer(3))] == ["suite clean", "the holdout"]


def test_a_session_is_a_name_as_well_as_a_speaker() -> None:
    rows = [row(1, "train", cluster=cluster_of(KEY, speaker="session:call-7"))]
    (crossing,) = met(trained([(1, rows)], [], KEY), newcomer(9, "speaker:new", "session:call-7"))
    assert crossing == Crossing("clip9", "session call-7", "cycle 1 (train)")


def test_the_same_recording_under_another_name_is_found() -> None:
    (crossing,) = met(trained([(1, [row(1, "train")])], [], KEY), newcomer(1, "speaker:somebody else"))
    assert crossing.who == "the same recording"


def test_what_was_told_late_is_found_by_what_the_next_seal_will_see() -> None:
    """The speaker of a recording that was trained on was told later; another recording is known under a second digest."""
    splits: Assignments = {
        cluster_of(KEY, speaker="speaker:s1"): frozenset({"train"}),
        cluster_of(KEY, speaker=f"audio:{audio_digest(builders.pin(2))}"): frozenset({"dev", "holdout"}),
        cluster_of(KEY, speaker="speaker:s3"): frozenset({"holdout"}),
    }
    nothing = Known({}, {})
    where = "what was trained on, by what was told of it later"
    assert met(nothing, *(newcomer(n) for n in (1, 2, 3)), splits=splits) == [
        Crossing("clip1", "speaker s1", where),
        Crossing("clip2", "the same recording", where),
    ]
