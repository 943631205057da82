"""The report of a run: as a document, as a page, and on a terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO

import pytest
from pydantic import ValidationError
from rich.console import Console

from shared.manifest import FileDigest
from shared.rates import Interval
from shared.training import LambdaTrial, SetAside, TrainingConfig
from tests.html_check import Page
from trainer.finetune.decisions import DecidedClip, RunDecisions, Unreferenced
from trainer.finetune.numbers import Rate
from trainer.finetune.render import charts, points_with_interval, rate_with_interval, render_html, render_table
from trainer.finetune.report import (
    Ending,
    EpochPoint,
    FinetuneReport,
    NamedDigest,
    Surroundings,
    TrainingSummary,
    report_ending,
    report_result,
)

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
AROUND = Surroundings(
    created_at=NOW,
    options={"model": "facebook/wav2vec2-base-960h", "lora_rank": None},
    seed=0,
    packages={"torch": "2.13.0"},
    digests=(NamedDigest(name="audio folder", sha256="a" * 64),),
    run_s=61.4,
)
EPOCHS = (
    EpochPoint(epoch=1, loss=2.0, dev_errors_wer=0.6, dev_replay_wer=0.0),
    EpochPoint(epoch=2, loss=1.0, dev_errors_wer=0.4, dev_replay_wer=0.05),
)


def decided(provenances: Sequence[str] = ("human",), *, said: str = "call mister smith") -> RunDecisions:
    """Return twelve clips of twelve speakers, eight of them in the holdout, each with one error in what the base heard."""
    clips = [
        DecidedClip(
            utterance_id=f"clean/<b>{number}</b>.wav",
            condition="clean" if number % 2 else "noisy",
            speaker=f"s{number}",
            part="holdout" if number < 8 else "train",
            reference=said,
            provenance=provenances[number % len(provenances)],
            before="call sister smith",
        )
        for number in range(12)
    ]
    return RunDecisions(
        created_at=NOW,
        folder_sha256="a" * 64,
        base=(FileDigest(name="model.safetensors", sha256="b" * 64, crc32c="AAAAAA==", size_bytes=1),),
        unit="speaker",
        gold_model="voxtral-2507",
        clips=tuple(clips),
        unreferenced=(Unreferenced(utterance_id="clean/x.wav", condition="clean", before="hm", reason="no transcript"),),
        set_aside=(SetAside(utterance_id="noisy/y.wav", set_name="noisy", reason="too_short", detail="expected at least 0.1 s"),),
        warnings=("One <i>thing</i> to mind.",),
    )


def summary(scale: float = 0.7) -> TrainingSummary:
    return TrainingSummary(
        config=TrainingConfig(seed=3),
        scale=scale,
        scale_reason="dev error WER 40.00%",
        trials=(
            LambdaTrial(scale=0.0, dev_errors_wer=0.6, dev_replay_wer=None),
            LambdaTrial(scale=0.7, dev_errors_wer=0.4, dev_replay_wer=None),
        ),
        epochs=EPOCHS,
        figures={"train_s": 12.5, "epochs": ["not shown"]},
    )


def report(found: RunDecisions | None = None, heard: str = "call mister smith", scale: float = 0.7) -> FinetuneReport:
    found = found or decided()
    after = {clip.utterance_id: heard for clip in found.clips if clip.part == "holdout"}
    after["clean/<b>1</b>.wav"] = "fall blister myth"
    return report_result(found, summary(scale), after, AROUND)


def on_terminal(found: FinetuneReport) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(render_table(found))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_report_survives_its_file() -> None:
    found = report()
    assert FinetuneReport.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ValidationError):
        FinetuneReport.model_validate_json(found.model_dump_json().replace('"outcome"', '"out_come"'))


def test_only_the_holdout_is_compared_and_all_clips_are_measured() -> None:
    found = report()
    assert [(each.name, each.clips) for each in found.holdout] == [("clean", 4), ("noisy", 4), ("all", 8)]
    assert [(each.name, each.clips) for each in found.measured] == [("clean", 6), ("noisy", 6), ("all", 12)]
    assert {(count.part, count.condition, count.wrong, count.right) for count in found.parts} == {
        ("train", "clean", 2, 0),
        ("train", "noisy", 2, 0),
        ("holdout", "clean", 4, 0),
        ("holdout", "noisy", 4, 0),
    }


def test_the_clips_that_changed_most_are_shown() -> None:
    found = report()
    (worse,) = found.worst_regressions
    assert (worse.utterance_id, worse.errors_before, worse.errors_after) == ("clean/<b>1</b>.wav", 1, 3)
    assert len(found.best_fixes) == 7
    assert all((fix.errors_before, fix.errors_after) == (1, 0) for fix in found.best_fixes)


def test_the_page_says_what_was_found_and_how() -> None:
    text = " ".join(Page(render_html(report())).text.split())
    # holdout: 8 errors in 24 words before; 3 after
    for shown in (
        "No clear difference",
        "All 12 references are a person's.",
        "One <i>thing</i> to mind.",
        "33.3% (33.3 to 33.3)",
        "8 / 0 / 0",
        "fall blister myth",
        "1 noisy: too short",
        "1 without a reference: no transcript",
        "expected at least 0.1 s",
        "Kept: 70.0% of the update.",
        "WER on dev by epoch: \u25a0 noisy \u25a0 clean",
        '"seed":3',
        "train_s",
        "torch 2.13.0",
        "a" * 64,
        "2026-01-05T09:00:00+00:00, in 61 s",
    ):
        assert shown in text
    assert "not shown" not in text
    assert "lora_rank" not in text  # not given


def test_what_was_said_is_text_and_never_markup() -> None:
    evil = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    parsed = Page(render_html(report(decided(said=evil), heard=evil)))
    assert {"script", "img", "b", "i"}.isdisjoint(parsed.tags)
    assert "onerror" not in parsed.attributes
    assert evil in parsed.text


def test_the_page_needs_nothing_else_and_permits_no_script() -> None:
    page = render_html(report())
    assert "default-src 'none'" in page
    assert {"script", "link", "iframe", "img"}.isdisjoint(Page(page).tags)
    assert {"src", "href"}.isdisjoint(Page(page).attributes)


def test_numbers_on_llm_gold_are_labelled_wherever_they_stand() -> None:
    found = report(decided(["llm"]))
    assert found.gold == "llm"
    assert "no number here rests on what a person heard" in found.references
    assert "voxtral-2507" in found.references
    page = Page(render_html(found))
    assert page.text.count("LLM gold") == 1 + 3 + 3 + 8  # the sentence, both tables, the clips
    assert "clean (LLM gold)" in on_terminal(found)


def test_numbers_on_both_kinds_say_how_many_of_each() -> None:
    found = report(decided(["human", "human", "llm"]))
    assert found.gold == "both"
    assert "8 references are a person's, 4 are LLM gold" in found.references
    assert "6 human, 2 LLM gold" in on_terminal(found)
    assert "all, human references" in on_terminal(found)


def test_numbers_on_a_persons_word_have_no_label() -> None:
    assert "LLM gold" not in Page(render_html(report())).text


def test_a_base_that_is_kept_is_called_so() -> None:
    assert report(heard="call sister smith", scale=0.0).reason.startswith("the base is kept")


def test_a_run_that_ends_early_has_a_report_as_well() -> None:
    found = report_ending(Ending(outcome="too_few_errors", reason="expected 6, found 2"), decided(), AROUND)
    assert found.ended_early
    assert found.holdout == ()
    text = Page(render_html(found)).text
    assert "There are too few errors to learn from" in text
    assert "expected 6, found 2." in text
    assert "Training" not in text
    assert "All clips, with the base model" in on_terminal(found)


def test_a_run_without_any_reference_has_a_report_as_well() -> None:
    nothing = decided().model_copy(update={"clips": ()})
    found = report_ending(Ending(outcome="no_references", reason="none of 1 clips has a transcript"), nothing, AROUND)
    assert found.gold == "none"
    assert "There are no references" in Page(render_html(found)).text
    assert "There are no references" in on_terminal(found)


def test_the_curve_reaches_from_the_highest_to_the_lowest_value() -> None:
    loss, wer = charts(EPOCHS)
    assert loss.lines[0].dots == ((46.0, 10.0), (408.0, 83.0))  # 2.0 at the top, 1.0 half way down to 0 at 156
    assert [text for text, _ in loss.ticks] == ["0.00", "1.00", "2.00"]
    assert [line.name for line in wer.lines] == ["noisy", "clean"]
    assert [text for text, _ in wer.ticks] == ["0%", "30%", "60%"]


def test_a_curve_may_be_of_one_epoch_or_of_none_or_without_dev() -> None:
    assert charts([]) == []
    (only,) = charts([EpochPoint(epoch=1, loss=0.0)])
    assert only.epochs == (("1", 46.0),)
    assert "Training loss" in render_html(report()).replace("\n", " ")


def test_a_rate_is_told_with_its_interval_or_why_it_has_none() -> None:
    assert rate_with_interval(Rate(value=0.146, interval=Interval(0.146, 0.12, 0.172, 0.95, 40))) == "14.6% (12.0 to 17.2)"
    assert rate_with_interval(Rate(value=None, interval=None, note="no words")) == "- (no words)"
    assert points_with_interval(Rate(value=-0.034, interval=Interval(-0.034, -0.047, 0.021, 0.95, 40))) == "-3.4 (-4.7 to +2.1)"
    assert points_with_interval(Rate(value=0.0, interval=None, note="one speaker")) == "+0.0 (one speaker)"
