"""What the candidate costs to serve: its size, its time, and whether a fresh process could load it at all."""

from collections.abc import Iterator

from functions.validator.evidence import Serving
from functions.validator.rules import Finding, GatePolicy
from shared.training import ServingFigures
from shared.verdict import GateNumbers

SERVING = "serving"
MIN_TIMED_S = 1.0
"""Shorter times say more about the machine's other work than about a model."""


def judge_serving(serving: Serving, policy: GatePolicy) -> Iterator[tuple[GateNumbers, Finding | None]]:
    """Refuse a candidate that cannot be loaded, or is slower or larger than the policy bears. These are measurements, not tests."""
    base_mib, candidate_mib = serving.base_bytes / 2**20, serving.candidate_bytes / 2**20
    size = f"The candidate takes {candidate_mib:.1f} MiB, the model in production {base_mib:.1f} MiB"
    yield _ratio("model size in MiB", base_mib, candidate_mib, policy.max_size_ratio, size)
    figures = serving.figures
    if figures is None or figures.audio_s * figures.base_rtf < MIN_TIMED_S:
        timed = (
            f"the model in production transcribed all in less than {MIN_TIMED_S:g} s" if figures else "the trainer did not time the models"
        )
        yield _unknown("seconds for a second of audio", policy.max_latency_ratio, timed)
    else:
        time = f"The candidate takes {figures.candidate_rtf:.4f} s for a second of audio, the model in production {figures.base_rtf:.4f} s"
        yield _ratio("seconds for a second of audio", figures.base_rtf, figures.candidate_rtf, policy.max_latency_ratio, time)
    yield _smoke_test(figures)


def _ratio(gate: str, base: float, candidate: float, bearable: float, said: str) -> tuple[GateNumbers, Finding | None]:
    failed = candidate > bearable * base
    text = f"{said}; more than {bearable:g} times as much is refused." if failed else f"{said}."
    numbers = GateNumbers(
        gate=gate,
        set_name=SERVING,
        base=base,
        candidate=candidate,
        bearable=bearable,
        p_value=None,
        result="failed" if failed else "passed",
        finding=text,
    )
    headline = f"it costs more to serve than the policy bears ({gate})"
    return numbers, Finding("rejects", SERVING, text, headline) if failed else None


def _smoke_test(figures: ServingFigures | None) -> tuple[GateNumbers, Finding | None]:
    gate = "loads and transcribes"
    if figures is None:
        return _unknown(gate, 1.0, "the trainer did not say")
    passed = figures.smoke_test_passed
    did = "loaded the candidate from its files and transcribed" if passed else "could not load the candidate from its files and transcribe"
    text = f"A fresh process {did} as expected."
    numbers = GateNumbers(
        gate=gate,
        set_name=SERVING,
        base=None,
        candidate=float(passed),
        bearable=1.0,
        p_value=None,
        result="passed" if passed else "failed",
        finding=text,
    )
    return numbers, None if passed else Finding("rejects", SERVING, text, "it does not load and transcribe in the form that is served")


def _unknown(gate: str, bearable: float, why: str) -> tuple[GateNumbers, None]:
    text = f"Not measured: {why}."
    numbers = GateNumbers(
        gate=gate, set_name=SERVING, base=None, candidate=None, bearable=bearable, p_value=None, result="not measured", finding=text
    )
    return numbers, None
