"""The logic of `retune llm-check`: whether an endpoint can be asked for gold, and else what is wrong with it."""

import io
import math
import time
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from struct import pack
from typing import Literal, get_args

from shared.documents import sha256_hex
from shared.gold import GoldConfig
from trainer.gold.problems import GoldUnavailable, Problem, ProblemKind, RequestFailed, explain
from trainer.gold.question import GoldQuestion, Usage
from trainer.gold.transcribers import open_endpoint, transcriber_at

Step = Literal["address", "key", "model", "answer"]
STEPS: tuple[Step, ...] = get_args(Step)
"""What is looked at, in this order."""

SHOWN_MODELS = 10

_STEP: dict[ProblemKind, Step] = {
    "address": "address",
    "tls": "address",
    "path": "address",
    "key": "key",
    "no_key": "key",
    "model": "model",
}
_ENDS_IT: frozenset[ProblemKind] = frozenset({"address", "tls", "connection", "timeout", "key", "no_key"})
"""Without a list of models an endpoint may still answer; with one of these it cannot."""
_RATE_HZ = 16_000


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        passed: the steps that are known to be in order.
        failed: the step that is not; None where all is well.
        problem: None where all is well.
        advice: what is wrong and what to do, in words; empty where all is well.
        models: what the endpoint says that it serves; empty where it does not tell.
        latency_s: from the request to the last byte of the answer.
        usage: of that one request; None where the endpoint did not say.
        answer: the transcript that it gave.
    """

    passed: tuple[Step, ...]
    failed: Step | None = None
    problem: Problem | None = None
    advice: str = ""
    models: tuple[str, ...] = ()
    latency_s: float | None = None
    usage: Usage | None = None
    answer: str | None = None

    @property
    def ok(self) -> bool:
        """Whether gold can be asked for."""
        return self.problem is None

    def lines(self) -> list[str]:
        """Return the report for a person, a line for each step."""
        marks = [f"ok      {step}" for step in self.passed]
        if self.failed:
            return [*marks, f"FAILED  {self.failed}: {self.advice}"]
        used = f"{self.usage.input_tokens} tokens in, {self.usage.output_tokens} out" if self.usage else "token use not reported"
        return [*marks, f"{self.latency_s:.2f} s for one answer, {used}; it answered {self.answer!r}"]


def check_endpoint(config: GoldConfig, environ: Mapping[str, str], *, monotonic: Callable[[], float] = time.monotonic) -> CheckReport:
    """Ask for the models and for one transcript, each once, and say what is wrong.

    Costs one small request, sent again only in other words: a failure that might pass is worth knowing, too.

    Args:
        config: the settings to try.
        environ: holds the key, under the name that `config` gives.
        monotonic: a clock in seconds.
    """
    try:
        endpoint = open_endpoint(config, environ, monotonic)
    except GoldUnavailable as error:
        return _failure(config, error.problem, ())
    try:
        models = endpoint.models()
    except RequestFailed as failed:
        if failed.problem.kind in _ENDS_IT:
            return _failure(config, failed.problem, ())
        models = ()
    start_s = monotonic()
    try:
        reply = transcriber_at(endpoint, config).ask(_sample_question(), 0)
    except RequestFailed as failed:
        moved = failed.problem.kind == "path" and _answers_below_v1(config, environ)
        return _failure(config, failed.problem, models, moved=moved)
    return CheckReport(STEPS, models=models, latency_s=monotonic() - start_s, usage=reply.usage, answer=reply.text)


def _failure(config: GoldConfig, problem: Problem, models: tuple[str, ...], *, moved: bool = False) -> CheckReport:
    advice = explain(problem, config)
    if moved:
        advice = f"LLM {config.base_url}: expected an OpenAI-compatible API, found it at {config.base_url}/v1: set base_url to that."
    elif problem.kind == "model" and models:
        advice += f" It serves: {_nearest(config.model, models)}."
    return CheckReport(_passed(config, problem, models), _STEP.get(problem.kind, "answer"), problem, advice, models)


def _passed(config: GoldConfig, problem: Problem, models: tuple[str, ...]) -> tuple[Step, ...]:
    """Return what a failure shows to be in order all the same: a server that speaks of the model has taken the key."""
    reached = bool(models) or problem.status is not None
    known: dict[Step, bool] = {
        "address": reached,
        "key": bool(models) or problem.kind in {"model", "refused", "rate_limit", "quota", "bad_answer"},
        "model": config.model in models or problem.kind in {"refused", "bad_answer"},
        "answer": False,
    }
    return tuple(step for step in STEPS if known[step] and step != _STEP.get(problem.kind))


def _answers_below_v1(config: GoldConfig, environ: Mapping[str, str]) -> bool:
    """Return whether the API stands one folder lower than the configured address."""
    if config.base_url.endswith("/v1"):
        return False
    lower = config.model_copy(update={"base_url": f"{config.base_url}/v1"})
    try:
        return bool(open_endpoint(lower, environ).models())
    except RequestFailed as failed:
        return failed.problem.kind in {"key", "no_key"}


def _nearest(model: str, models: tuple[str, ...]) -> str:
    near = get_close_matches(model, models, n=SHOWN_MODELS, cutoff=0.4)
    shown = [*near, *(each for each in models if each not in near)][:SHOWN_MODELS]
    more = len(models) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _sample_question() -> GoldQuestion:
    """Return the fixed clip of the check: a second of a quiet tone, and a hypothesis with errors that show when it is read."""
    audio = tone_wav()
    return GoldQuestion("llm-check", "please call me back to morrow mourning", 1.0, sha256_hex(audio), lambda: audio)


def tone_wav() -> bytes:
    """Return one second of 440 Hz at a tenth of full scale: a 16-bit mono WAV file at 16 kHz."""
    samples = [round(3276.7 * math.sin(2 * math.pi * 440 * number / _RATE_HZ)) for number in range(_RATE_HZ)]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        file.writeframes(pack(f"<{_RATE_HZ}h", *samples))
    return buffer.getvalue()
