"""The validation report as a document and as a page."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from pydantic import ValidationError

from functions.validator.closure import count_fates
from functions.validator.decide import decide_verdict
from functions.validator.evidence import Evidence
from functions.validator.judged_set import JudgedSet, judge_set
from functions.validator.report import Closures, Lineage, build_report, render_html
from functions.validator.rules import GatePolicy
from shared.audio_source import AudioPin
from shared.diffs import audio_link, shown
from shared.errors import CorruptObject
from shared.normalisation import BASIC
from shared.plot import Line, interval_plot
from shared.rates import Interval
from shared.training import Clip, EvaluationRow, SetAside
from shared.verdict import UtteranceChange, ValidationReport, dump_report, parse_report
from tests.html_check import Page

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LINEAGE = Lineage(
    cycle=12,
    version=12,
    base_version=11,
    model_manifest_sha256="a" * 64,
    dataset_sha256="b" * 64,
    spec_sha256="c" * 64,
    result_sha256="d" * 64,
    normaliser=BASIC.name_version,
    left_out={"holdout": {"too_short": 2}, "dataset": {"missing": 1}},
)
POLICY = GatePolicy()


def holdout(candidate: str = "call mister smith", reference: str = "call mister smith") -> JudgedSet:
    clips, rows = [], []
    for number in range(24):
        name = f"<b>u{number}</b>"
        stratum = "errors" if number % 2 else "traffic"
        clips.append(
            Clip(
                utterance_id=name,
                cluster=f"s{number % 8}",
                stratum=stratum,
                audio=AudioPin(uri="gs://calls/u.wav", generation=1, crc32c="AAAAAA==", size_bytes=1),
                reference=reference,
                provenance="human",
                weight=1.0 if number % 2 else 2.0,
                duration_s=1.0 + number // 12 * 9.0,
            )
        )
        rows.append(
            EvaluationRow(
                utterance_id=name,
                cluster=f"s{number % 8}",
                stratum=stratum,
                reference=reference,
                base_hypothesis="fall sister smith" if number % 3 else "call mister smith",
                candidate_hypothesis=candidate if number else "fall blister myth",
            )
        )
    clips.append(clips[0].model_copy(update={"utterance_id": "gone"}))
    return judge_set("holdout", clips, rows, [SetAside(utterance_id="gone", set_name="holdout", reason="too_short")], BASIC)


def report(judged: JudgedSet | None = None) -> ValidationReport:
    evidence = Evidence(holdout=judged or holdout())
    verdict = decide_verdict(evidence, POLICY, seed=12)
    return build_report(verdict, LINEAGE, POLICY, NOW, Closures(held_out=count_fates(evidence.holdout)))


def test_a_report_survives_storage_byte_for_byte() -> None:
    stored = dump_report(report())
    assert parse_report(stored) == report()
    assert dump_report(parse_report(stored)) == stored


def test_a_report_carries_what_the_deployer_verifies() -> None:
    found = report()
    assert found.outcome == "accepted"
    assert (found.cycle, found.version, found.base_version) == (12, 12, 11)
    assert found.model_manifest_sha256 == "a" * 64
    assert found.created_at == NOW
    assert found.normaliser == "retune-basic-1"


@pytest.mark.parametrize("data", [b"", b"{}", b'{"outcome": "accepted"}', b"\xff", b"[]"])
def test_bytes_that_are_no_report_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptObject, match="validation report"):
        parse_report(data)


def test_an_unknown_field_or_a_short_digest_is_refused() -> None:
    stored = dump_report(report())
    with pytest.raises(CorruptObject):
        parse_report(stored.replace(b'"outcome"', b'"out_come"'))
    with pytest.raises(CorruptObject):
        parse_report(stored.replace(b"a" * 64, b"a" * 63))


def test_a_report_is_frozen() -> None:
    with pytest.raises(ValidationError):
        report().outcome = "rejected"  # type: ignore[misc]


def test_a_report_has_a_schema() -> None:
    schema = ValidationReport.model_json_schema()
    assert schema["properties"]["outcome"]["enum"] == ["accepted", "rejected", "inconclusive"]
    assert "Interval" in schema["$defs"]


def test_the_page_shows_verdict_reasons_rates_and_lineage() -> None:
    found = report()
    text = Page(render_html(found)).text
    assert "Model v12 against v11: PASS" in text
    for line in (*found.reasons, *found.notes, "a" * 64, "b" * 64, "c" * 64, "d" * 64, "retune-basic-1", "2026-01-05T09:00:00+00:00"):
        assert line in text
    assert "holdout: 2 too short" in text
    assert "dataset: 1 missing" in text
    # before: 8 reported and 8 sampled utterances with 2 errors: (8 * 2 + 2 * 8 * 2) / (3 * (12 + 24)) = 48 / 108
    assert found.sets[0].base.wer is not None
    assert found.sets[0].base.wer.estimate == pytest.approx(48 / 108)
    assert "44.4% (" in text
    assert "fell by" in text
    # the worst regression: heard before as it was said, after with two words otherwise
    assert "callfall misterblister smithmyth" in " ".join(text.split())


def test_what_was_said_is_text_and_never_markup() -> None:
    evil = 'call </bdi><script>alert("x")</script><img src=x onerror=alert(1)> smith'
    page = render_html(report(holdout(candidate=evil, reference=evil)))
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert "img" not in parsed.tags
    assert "b" not in parsed.tags  # utterance ids are others' text as well
    assert "onerror" not in parsed.attributes
    assert evil in parsed.text
    assert "&lt;script&gt;" in page


def test_the_page_needs_nothing_else_and_permits_no_script() -> None:
    page = render_html(report())
    assert "default-src 'none'" in page
    assert {"script", "link", "iframe", "img"}.isdisjoint(Page(page).tags)
    assert "src" not in Page(page).attributes
    assert set(Page(page).links) == {"https://console.cloud.google.com/storage/browser/_details/calls/u.wav"}


@pytest.mark.parametrize(
    ("uri", "link"),
    [
        ("gs://calls/a b&c.wav", "https://console.cloud.google.com/storage/browser/_details/calls/a%20b%26c.wav"),
        ("file:///data/u 1.wav", "file:///data/u%201.wav"),
        ("javascript:alert(1)", None),
        ("javascript://x/%0aalert(1)", None),
        ("", None),
    ],
)
def test_only_audio_that_a_person_can_open_is_a_link(uri: str, link: str | None) -> None:
    assert audio_link(uri) == link


def test_a_word_diff_names_what_happened_to_each_word() -> None:
    change = UtteranceChange(
        set_name="holdout",
        utterance_id="u",
        reference="call mister smith",
        base_hypothesis="call sister",
        candidate_hypothesis="do call mister smith",
        words=3,
        base_errors=2,
        candidate_errors=1,
    )
    assert [(word.kind, word.said, word.heard) for word in shown(change).base] == [
        ("hit", "call", "call"),
        ("substitution", "mister", "sister"),
        ("deletion", "smith", ""),
    ]
    assert [word.kind for word in shown(change).candidate] == ["insertion", "hit", "hit", "hit"]


def test_the_plot_draws_each_interval_where_its_numbers_are() -> None:
    # from -4 to +2 points: six steps of one point over 860 - 250 - 24 = 586 pixels
    lines = [
        Line("holdout", Interval(-0.02, -0.04, 0.0, 0.9, 12), decides=True),
        Line("device: <b>", Interval(0.01, 0.0, 0.02, 0.9, 12), decides=False, margin=0.015, worse=True),
    ]
    drawing = interval_plot(lines)
    assert f'<circle class="full" cx="{round(250 + 2 * 586 / 6, 1)}"' in drawing
    assert f'd="M250.0 15 H{round(250 + 4 * 586 / 6, 1)}' in drawing
    assert f'<line class="zero" x1="{round(250 + 4 * 586 / 6, 1)}"' in drawing
    assert f'<path class="margin" d="M{round(250 + 5.5 * 586 / 6, 1)}' in drawing
    assert "device: &lt;b&gt; (worse)" in drawing
    assert ET.fromstring(drawing).tag.endswith("svg")
    assert drawing.count("<circle") == 1
    assert drawing.count("<rect") == 1


def test_nothing_to_plot_is_no_drawing_and_a_change_of_nothing_is_one() -> None:
    assert interval_plot([]) == ""
    assert "<circle" in interval_plot([Line("holdout", Interval(0.0, 0.0, 0.0, 0.9, 12), decides=True)])


def test_the_page_shows_slices_gates_and_what_became_of_the_errors() -> None:
    text = " ".join(Page(render_html(report())).text.split())
    assert "duration: under 2 s" in text
    assert "empty output, holdout: passed. The candidate returns nothing for 0.0%" in text
    assert "8 fixed, 0 improved, 4 unchanged, 0 worse" in text


def test_a_refusal_is_one_sentence_under_the_verdict() -> None:
    text = Page(render_html(report(holdout(candidate="nothing alike at all")))).text
    assert "Model v12 against v11: FAIL" in text
    assert "The candidate is refused because it transcribes worse than the model in production." in text


def test_a_report_without_measurable_rates_is_a_page_as_well() -> None:
    empty = report(judge_set("holdout", [], [], [], BASIC))
    text = Page(render_html(empty.model_copy(update={"left_out": {}}))).text
    assert "not measurable" in text
    assert "INCONCLUSIVE" in text
    assert "There is no holdout yet" in text
    assert "every clip could be used" in text
