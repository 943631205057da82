"""The validator among the others: what it reads, and what it writes of it."""

import json
from collections.abc import Callable
from dataclasses import replace

from functions.validator.judge import judge
from functions.validator.report import render_html
from shared import keys
from shared.cycle import Status
from shared.documents import document_bytes, parse_document, sha256_hex
from shared.policy import Policy, SuitePolicy, ValidationPolicy
from shared.testing import builders
from shared.training import Clip, ServingFigures, TrainingResult, TrainingSpec
from shared.verdict import ValidationReport, parse_report
from tests.world import POLICY, World, right, wrong

CALLS = range(60)


def trained(*, validation: ValidationPolicy | None = None, candidate: Callable[[Clip], str] = right) -> World:
    """A world whose first cycle has been trained; nobody has judged it yet."""
    made = World(POLICY.model_copy(update={"validation": validation or ValidationPolicy()}))
    made.install_model()
    made.record_calls(range(200))
    made.publish(
        *(builders.sample(n + 100, sample_rate=1.0) for n in CALLS),
        *(builders.error(n, device=("headset", "telephone")[n % 2]) for n in CALLS),
    )
    made.settle()
    assert made.train(1, candidate=candidate) == "completed"
    return made


def report(made: World, cycle: int = 1) -> ValidationReport:
    return parse_report(made.store.get(keys.report(cycle)).data)


def closed(made: World, cycle: int = 1) -> list[dict[str, object]]:
    return [json.loads(line) for line in made.store.get(keys.closure(cycle)).data.splitlines()]


def test_each_held_out_error_is_told_its_fate_and_the_version_that_resolves_it() -> None:
    made = trained(candidate=lambda clip: right(clip) if clip.utterance_id < "u3" else wrong(clip))
    made.settle()
    found, counts = [line for line in closed(made) if not line["learned"]], report(made).closure
    assert counts is not None
    assert len(found) == counts.fixed + counts.unchanged > 0
    for line in found:
        fixed = str(line["utterance_id"]) < "u3"
        assert (line["fate"], line.get("resolved_by")) == (("fixed", 1) if fixed else ("unchanged", None))
        assert (line["base_version"], line["version"], line["base_errors"]) == (0, 1, 1)


def test_an_error_is_learned_exactly_where_the_cycle_trained_or_tuned_with_it() -> None:
    made = trained()
    made.settle()
    taught = "".join(made.store.get(keys.clips(1, name)).data.decode() for name in ("train-errors", "dev-errors"))
    assert {line["learned"] for line in closed(made)} == {True, False}
    for line in closed(made):
        assert line["learned"] == (f'"{line["utterance_id"]}"' in taught)


def test_what_the_service_told_of_a_call_reaches_the_verdict() -> None:
    made = trained()
    made.settle()
    assert {(each.dimension, each.value) for each in report(made).slices} == {("device", "headset"), ("device", "telephone")}


def test_the_first_candidate_after_an_import_is_named_as_such_and_a_later_one_is_not() -> None:
    made = trained()
    made.settle()
    assert any("was imported" in note for note in report(made).notes)
    made.publish(*(builders.sample(n, sample_rate=1.0) for n in range(260, 320)), *(builders.error(n) for n in range(200, 260)))
    made.record_calls(range(200, 320))
    made.settle()
    made.train(2)
    made.settle()
    assert not any("was imported" in note for note in report(made, 2).notes)
    assert report(made, 2).learned == (1, 2)


def test_an_open_question_is_sized_by_the_spread_that_earlier_cycles_measured() -> None:
    made = trained()
    made.settle()
    (holdout, *_) = report(made).sets
    assert holdout.sd_d is not None
    made.publish(*(builders.sample(n, sample_rate=1.0) for n in range(260, 320)), *(builders.error(n) for n in range(200, 260)))
    made.record_calls(range(200, 320))
    made.settle()
    made.train(2, candidate=wrong)
    made.settle()
    assert "by the spread that 1 earlier comparison measured" in report(made, 2).reasons[0]


def test_serving_figures_of_the_result_and_sizes_of_the_manifests_are_judged() -> None:
    made = trained()
    stored = made.store.get(keys.result(1))
    result = parse_document(TrainingResult, stored.data, what="result")
    slow = ServingFigures(audio_s=600.0, base_rtf=0.1, candidate_rtf=0.2, smoke_test_passed=True)
    made.store.put(keys.result(1), document_bytes(result.model_copy(update={"serving": slow})))
    made.settle()
    assert made.state(1).status == Status.REJECTED
    gates = {gate.gate: gate for gate in report(made).gates if gate.set_name == "serving"}
    assert gates["seconds for a second of audio"].result == "failed"
    assert gates["loads and transcribes"].result == "passed"
    # "weights of v0" and "weights of v1"
    assert gates["model size in MiB"].candidate == 13 / 2**20
    assert (
        report(made).failure_reason
        == "The candidate is refused because it costs more to serve than the policy bears (seconds for a second of audio)."
    )


def test_a_critical_term_of_the_policy_that_is_lost_rejects() -> None:
    validation = ValidationPolicy(critical_terms=("Fall", "fall!"), suites={"names": SuitePolicy(margin=0.9)})
    made = World(POLICY.model_copy(update={"validation": validation}))
    made.install_model()
    made.record_calls(range(400))
    made.add_suite("names", range(300, 330))
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in CALLS), *(builders.error(n) for n in CALLS))
    made.settle()
    made.train(1, base=right, candidate=lambda clip: "all back" if clip.stratum == "suite" else right(clip))
    made.settle()
    assert made.state(1).status == Status.REJECTED
    terms = [(gate.gate, gate.set_name, gate.result) for gate in report(made).gates if "term" in gate.gate]
    assert ("critical term fall", "suite-names", "failed") in terms
    assert ("critical term fall", "holdout", "passed") in terms
    assert len(terms) == 2  # one term, written in two ways


LATEST = ("policy_sha256", "judged_under_sha256", "code", "learned_closure", "rechecks")


def test_the_report_names_the_policy_and_says_when_it_changed_before_the_verdict() -> None:
    made = trained()
    opened_under = parse_document(TrainingSpec, made.store.get(keys.spec(1)).data, what="spec").policy
    assert opened_under is not None
    assert parse_document(Policy, made.store.get(opened_under.key).data, what="policy") == made.ports.settings.policy
    same, _ = judge(made.ports, 1)
    assert same.policy_sha256 == same.judged_under_sha256 == opened_under.sha256
    assert "it has changed since" not in render_html(same)
    policy = made.ports.settings.policy.model_copy(update={"cooldown_s": 7.0})
    other = made.ports.settings.model_copy(update={"policy": policy})
    changed, _ = judge(replace(made.ports, settings=other), 1)
    assert changed.judged_under_sha256 != opened_under.sha256 == changed.policy_sha256
    assert "it has changed since" in render_html(changed)


def test_the_report_that_was_judged_by_an_earlier_release_is_announced_with_its_own_digest() -> None:
    made = trained()
    made.settle()
    plain = json.loads(made.store.get(keys.report(1)).data)
    for later in ("slices", "gates", "classic", "closure", "failure_reason", "learned", "base_manifest_sha256", *LATEST):
        del plain[later]
    made = trained()
    older = json.dumps(plain).encode()
    made.store.put(keys.report(1), older)
    made.settle()
    (event,) = [json.loads(message.data) for message in made.bus.published("validation-events")]
    assert event["report_sha256"] == sha256_hex(older)
