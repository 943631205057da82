"""What a simulation takes for granted, each with where it comes from: nothing that was assumed may pass for measured. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from infra.errors import Refused
from shared.documents import Frozen
from shared.events import Rate
from shared.sizing import PRIOR_WER

Origin = Literal["assumed", "given", "measured", "computed"]


class Assumptions(Frozen):
    """Every number that no policy says.

    Attributes:
        wer: of the first model on all traffic; 14.6% is the prior that sizes holdouts before any cycle has measured one.
        words: mean words in an utterance.
        report_rate: share of the wrongly transcribed utterances that are reported.
        corrected_share: share of the reported errors that come with a person's reference.
        sample_rate: share of all utterances that is sampled.
        reviewed_share: share of the samples that come with a person's reference; what was served stands for it in the others.
        speakers: who call, each as often as the others.
        clip_s: audio in an utterance, in seconds.
        curable: share of the word errors that fine-tuning can cure at most, however many clips it gets.
        half_clips: so many clips with references, learned in all, cure half of these.
        redrawn: share of the words that a new model decides anew, with the same chance to fail.
        gold_accepted: share of the clips without a reference for which the policy's gold model gives one that is accepted.
        boot_s: from the start of a machine to the trainer's first act.
        train_rtf: seconds of the trainer's machine for one second of audio trained on once.
        transcribe_rtf: seconds of it for one second of audio transcribed by one model.
        epochs_run: share of the policy's epochs that a run takes before it stops by itself.
        preemptions_per_h: of a machine at work.
        approve_after_h, promote_after_h: how long a person takes to approve a cycle, and to promote a version, where the policy asks one.
        look_again: a refused cycle is looked at again once it has collected so much longer, relative; in production every few minutes.
        resolution_s: time between two ticks, shorter while a trainer is at work; in production a minute.
    """

    wer: Annotated[float, Field(gt=0, lt=0.9)] = PRIOR_WER
    words: Annotated[float, Field(ge=1, le=30)] = 9.0
    report_rate: Annotated[float, Field(gt=0, le=1)] = 0.2
    corrected_share: Rate = 0.7
    sample_rate: Rate = 0.05
    reviewed_share: Rate = 1.0
    speakers: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    clip_s: Annotated[float, Field(gt=0)] = 5.0
    curable: Annotated[float, Field(ge=0, lt=1)] = 0.5
    half_clips: Annotated[float, Field(gt=0)] = 300.0
    redrawn: Annotated[float, Field(ge=0, lt=1)] = 0.1
    gold_accepted: Rate = 0.6
    boot_s: Annotated[float, Field(ge=0)] = 420.0
    train_rtf: Annotated[float, Field(gt=0)] = 0.02
    transcribe_rtf: Annotated[float, Field(gt=0)] = 0.01
    epochs_run: Annotated[float, Field(gt=0, le=1)] = 1.0
    preemptions_per_h: Annotated[float, Field(ge=0)] = 0.0
    approve_after_h: Annotated[float, Field(ge=0)] = 8.0
    promote_after_h: Annotated[float, Field(ge=0)] = 8.0
    look_again: Annotated[float, Field(gt=0, le=1)] = 0.15
    resolution_s: Annotated[float, Field(ge=60, le=3600)] = 1800.0


MEANING: Mapping[str, str] = {
    "wer": "WER of the first model on all traffic",
    "words": "mean words in an utterance",
    "report_rate": "share of the wrongly transcribed utterances that are reported",
    "corrected_share": "share of the reported errors that come with a person's reference",
    "sample_rate": "share of all utterances that is sampled",
    "reviewed_share": "share of the samples that come with a person's reference",
    "speakers": "speakers, each as frequent as the others",
    "clip_s": "seconds of audio in an utterance",
    "curable": "share of the word errors that fine-tuning cures at most",
    "half_clips": "clips learned in all that cure half of these",
    "redrawn": "share of the words that a new model decides anew, with the same chance to fail",
    "gold_accepted": "share of the clips without a reference that the gold model's accepted answers make trainable",
    "boot_s": "seconds from the start of a machine to the trainer's first act",
    "train_rtf": "machine seconds for a second of audio trained on once",
    "transcribe_rtf": "machine seconds for a second of audio transcribed by one model",
    "epochs_run": "share of the policy's epochs that a run takes",
    "preemptions_per_h": "preemptions in an hour of a machine at work",
    "approve_after_h": "hours until a person approves a cycle, where the policy asks one",
    "promote_after_h": "hours until a person promotes a version, where the policy asks one",
    "look_again": "a refused cycle is looked at again once it has collected so much longer (every few minutes in production)",
    "resolution_s": "seconds between two ticks (60 in production)",
}
RECORDED_TELLS = frozenset({"report_rate", "corrected_share", "sample_rate", "reviewed_share", "speakers", "words"})
"""What a recorded history shows itself, so that these are not used with one."""

ALWAYS: tuple[str, ...] = (
    "callers call at any hour alike (Poisson arrivals), and nothing about them drifts",
    "every recording is there and can be read, and every error that a new model makes is a substitution",
    "a model's cure is the same for all speakers, and for clips that it was trained on as for others",
    "new machines are to be had at once; what gold answers cost is not counted",
    "serving both models costs the same",
)
ALWAYS_RECORDED: tuple[str, ...] = (
    "what was reported and sampled comes again as it was recorded; whatever served then is the first model, v0",
    "a recorded error comes again unless the model that serves hears every word of it; calls that only a new model gets wrong do not come",
    "where nobody said what was said, a fifth of an error's words are wrong",
    *ALWAYS[1:],
)


class Stated(Frozen):
    """One assumption as it is printed."""

    name: str
    value: float | int | str
    meaning: str
    origin: Origin
    basis: str = ""


def parse_assumptions(said: Sequence[str], measured: Mapping[str, float]) -> tuple[Assumptions, frozenset[str]]:
    """Return the assumptions and the names of those that a person gave.

    Args:
        said: `name=value` each.
        measured: what earlier cycles measured; a person's word wins.

    Raises:
        Refused: a name that is none, or a value out of bounds.
    """
    given = dict(_split(text) for text in said)
    unknown = sorted(given.keys() - Assumptions.model_fields.keys())
    if unknown:
        raise Refused(f"--assume {unknown[0]}: expected one of {', '.join(sorted(Assumptions.model_fields))}")
    try:
        return Assumptions.model_validate({**measured, **given}), frozenset(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise Refused(f"--assume {first['loc'][0]}: {first['msg']}, found {first['input']!r}") from error


def _split(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise Refused(f"--assume: expected NAME=VALUE, found {text!r}")
    return name.strip(), value.strip()


def stated(made: Assumptions, given: frozenset[str], measured: Mapping[str, str], unused: Iterable[str] = ()) -> tuple[Stated, ...]:
    """Return every assumption for print.

    Args:
        made: the assumptions.
        given: names that a person gave.
        measured: name -> on what it was measured.
        unused: names that do not apply.
    """

    def origin(name: str) -> Origin:
        return "given" if name in given else "measured" if name in measured else "assumed"

    return tuple(
        Stated(name=name, value=value, meaning=MEANING[name], origin=origin(name), basis="" if name in given else measured.get(name, ""))
        for name, value in made.model_dump().items()
        if name not in set(unused)
    )
