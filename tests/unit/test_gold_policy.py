"""Errors that nobody corrected, when the policy names somebody to ask: they reach the trainer, and what waits reaches a person."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from functions.acts.review import GoldReview
from infra.errors import Refused
from infra.review import CycleReview, FolderReview
from shared import keys
from shared.cas import create
from shared.cycle import Status
from shared.dataset import Row
from shared.documents import lines_bytes, parse_document, parse_lines
from shared.events import SttCorrection
from shared.gold import GoldConfig, GoldRecord, ReviewItem
from shared.ledger import read_events
from shared.policy import Policy
from shared.testing import builders
from shared.training import Clip, TrainingSpec, UnlabelledClip
from tests.world import POLICY, World

GOLD = GoldConfig(base_url="https://llm.example/v1", model="gold-1")
ASKING = POLICY.model_copy(update={"gold": GOLD})


def launched(policy: Policy, *, corrected: int, uncorrected: int, audio: Callable[[int], bytes] = builders.audio_bytes) -> World:
    made = World(policy)
    made.install_model()
    for number in range(corrected + uncorrected):
        made.calls.put(f"u{number}.wav", audio(number))
    made.publish(*(builders.error(n) for n in range(corrected)))
    made.publish(*(builders.error(n, reference=None) for n in range(corrected, corrected + uncorrected)))
    made.settle()
    return made


def spec_of(made: World) -> TrainingSpec:
    return parse_document(TrainingSpec, made.store.get(keys.spec(1)).data, what="spec")


def test_uncorrected_errors_of_train_speakers_reach_the_trainer_with_whom_to_ask() -> None:
    made = launched(ASKING, corrected=40, uncorrected=40)
    spec = spec_of(made)
    assert spec.gold == GOLD
    (unlabelled,) = [clip_set for clip_set in spec.sets if clip_set.role == "train_unlabelled"]
    rows = parse_lines(UnlabelledClip, made.store.get(unlabelled.ref.key).data, what="unlabelled")
    assert len(rows) == unlabelled.clips > 0
    assert {row.hypothesis for row in rows} == {"call back"}
    numbers = {int(row.utterance_id[1:]) for row in rows}
    assert numbers < set(range(40, 80))  # those whose speakers are in dev or holdout stay out
    judged = next(clip_set for clip_set in spec.sets if clip_set.name == "holdout")
    clusters = {clip.cluster for clip in parse_lines(Clip, made.store.get(judged.ref.key).data, what="holdout")}
    assert not clusters & {row.cluster for row in rows}


def test_without_gold_in_the_policy_they_wait_and_no_set_is_made_of_them() -> None:
    spec = spec_of(launched(POLICY, corrected=40, uncorrected=40))
    assert spec.gold is None
    assert "train_unlabelled" not in {clip_set.role for clip_set in spec.sets}


def test_a_cycle_without_one_correction_starts_only_where_somebody_can_be_asked() -> None:
    refused = launched(POLICY, corrected=0, uncorrected=60)
    assert any("no clip can be trained on" in outcome for outcome in refused.outcomes)
    assert launched(ASKING, corrected=0, uncorrected=60).state(1).status == Status.PREPARING


def test_what_the_stable_model_has_learned_from_gold_is_not_asked_again_but_still_waits_for_a_person() -> None:
    made = launched(ASKING, corrected=40, uncorrected=40)
    spec = spec_of(made)
    names = unlabelled_names(made, spec)
    create(made.store, keys.gold(1), lines_bytes(record(int(name[1:]), "accepted" if name == names[0] else "rejected") for name in names))
    assert made.train(1) == "completed"
    made.settle()
    made.type("model-commands", '{"promote": 1, "override": true, "reason": "no sample of traffic", "by": "ana"}')
    made.settle()
    assert made.production().stable == 1
    made.record_calls(range(80, 160))
    made.publish(*(builders.error(n) for n in range(80, 140)), *(builders.error(n, reference=None) for n in range(140, 160)))
    made.settle()
    second = parse_document(TrainingSpec, made.store.get(keys.spec(2)).data, what="spec")
    asked = unlabelled_names(made, second)
    assert names[0] not in asked
    assert set(names[1:]) <= set(asked)
    rows = parse_lines(Row, made.store.get(keys.dataset(2)).data, what="dataset")
    assert names[0] in {row.utterance_id for row in rows if row.kind == "error" and row.waiting}


def unlabelled_names(made: World, spec: TrainingSpec) -> list[str]:
    clip_set = next(clip_set for clip_set in spec.sets if clip_set.role == "train_unlabelled")
    return [clip.utterance_id for clip in parse_lines(UnlabelledClip, made.store.get(clip_set.ref.key).data, what="unlabelled")]


def record(number: int, decision: str, text: str | None = "fall back") -> GoldRecord:
    return GoldRecord.model_validate(
        {"utterance_id": f"u{number}", "decision": decision, "text": text, "provenance": "llm", "reason": "grey", "samples": ("fall back",)}
    )


def reviewed() -> World:
    made = launched(ASKING, corrected=40, uncorrected=40)
    names = unlabelled_names(made, spec_of(made))
    first, second, third = (int(name[1:]) for name in names[:3])
    records = [record(first, "review"), record(second, "accepted"), record(third, "review", None)]
    create(made.store, keys.gold(1), lines_bytes(records))
    return made


def test_what_waits_is_listed_with_where_to_hear_it() -> None:
    made = reviewed()
    items = CycleReview(made.ports).waiting()
    assert [item.proposed for item in items] == ["fall back", None]
    assert items[0].audio == f"{builders.CALLS}/{items[0].utterance_id}.wav"
    assert items[0].hypothesis == "call back"
    assert items[0].reason == "grey"


def test_a_persons_answer_is_published_as_a_correction_and_waits_no_more() -> None:
    made = reviewed()
    review = CycleReview(made.ports)
    first, second = review.waiting()
    review.answer(first.utterance_id, None)
    review.answer(second.utterance_id, "  fell   back ")
    made.settle()
    corrections = {event.utterance_id: event for event in read_events(made.store, 2) if isinstance(event, SttCorrection)}
    assert corrections[first.utterance_id].reference == "fall back"
    assert corrections[second.utterance_id].reference == "fell back"
    assert {event.reference_provenance for event in corrections.values()} == {"human"}
    assert CycleReview(made.ports).waiting() == []


def test_who_answered_and_why_is_kept_and_after_the_seal_as_well() -> None:
    made = reviewed()
    first = CycleReview(made.ports).waiting()[0]
    CycleReview(made.ports, None, "ana", "heard it twice").answer(first.utterance_id, None)
    made.settle()
    (before,) = GoldReview(made.ports, 1).answered()
    assert (before.by, before.reason, before.text, before.cycle) == ("ana", "heard it twice", "fall back", 2)
    assert made.train(1) == "completed"
    made.settle()
    made.type("finetune-triggers", '{"force": true}')
    made.settle()
    for _ in range(3):
        made.tick(3600)
    assert list(made.store.list(keys.ledger(2))) == [], "the sealed ledger is swept away"
    assert GoldReview(made.ports, 1).answered() == [before]
    assert first.utterance_id not in {item.utterance_id for item in CycleReview(made.ports, 1).waiting()}


def test_answers_that_say_nothing_are_refused() -> None:
    made = reviewed()
    review = CycleReview(made.ports)
    first, second = review.waiting()
    with pytest.raises(Refused, match="nothing usable was proposed; say what you hear with --text"):
        review.answer(second.utterance_id, None)
    with pytest.raises(Refused, match="expected words, found"):
        review.answer(first.utterance_id, " ?! ")
    with pytest.raises(Refused, match="expected one of the 2 that wait"):
        review.answer("u9999", "hello")


def test_a_store_without_gold_says_what_would_make_some() -> None:
    made = launched(POLICY, corrected=40, uncorrected=0)
    with pytest.raises(Refused, match="the policy's `gold` says whom it asks"):
        CycleReview(made.ports).waiting()
    with pytest.raises(Refused, match="cycle 7: expected gold"):
        CycleReview(made.ports, 7).waiting()


def folder_run(folder: Path) -> FolderReview:
    audio = folder / "calls" / "noisy"
    audio.mkdir(parents=True)
    (audio / "a.wav").write_bytes(b"sound")
    out = folder / "out"
    out.mkdir()
    row = {
        "utterance_id": "noisy/a.wav",
        "audio": str(audio / "a.wav"),
        "hypothesis": "fall",
        "proposed": "fall back",
        "samples": ["fall back"],
        "reason": "grey",
    }
    (out / "review.jsonl").write_text(json.dumps(row) + "\n")
    return FolderReview(out)


def test_an_answer_about_a_folder_is_written_beside_the_clip(tmp_path: Path) -> None:
    review = folder_run(tmp_path)
    assert review.waiting() == [
        ReviewItem(
            utterance_id="noisy/a.wav",
            audio=str(tmp_path / "calls/noisy/a.wav"),
            hypothesis="fall",
            reason="grey",
            proposed="fall back",
            samples=("fall back",),
        )
    ]
    review.answer("noisy/a.wav", "call back")
    assert (tmp_path / "calls/noisy/a.txt").read_text() == "call back\n"
    assert review.waiting() == []


def test_a_folder_that_no_llm_was_asked_about_says_so(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"expected review\.jsonl"):
        FolderReview(tmp_path).waiting()
