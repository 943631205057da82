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

    What each means stands beside it and is printed with it. `wer` is by default the prior that sizes holdouts before any cycle has measured
    one; for samples that nobody reviews, what was served stands as the reference; ticks come more often while a trainer is at work.
    """

    wer: Annotated[float, Field(gt=0, lt=0.9, description="WER of the first model on all traffic")] = PRIOR_WER
    words: Annotated[float, Field(ge=1, le=30, description="mean words in an utterance")] = 9.0
    report_rate: Annotated[float, Field(gt=0, le=1, description="share of the wrongly transcribed utterances that are reported")] = 0.2
    corrected_share: Annotated[Rate, Field(description="share of the reported errors that come with a person's reference")] = 0.7
    sample_rate: Annotated[Rate, Field(description="share of all utterances that is sampled")] = 0.05
    reviewed_share: Annotated[Rate, Field(description="share of the samples that come with a person's reference")] = 1.0
    speakers: Annotated[int, Field(ge=1, le=1_000_000, description="speakers, each as frequent as the others")] = 300
    clip_s: Annotated[float, Field(gt=0, description="seconds of audio in an utterance")] = 5.0
    curable: Annotated[float, Field(ge=0, lt=1, description="share of the word errors that fine-tuning cures at most")] = 0.5
    half_clips: Annotated[float, Field(gt=0, description="clips learned in all that cure half of these")] = 300.0
    redrawn: Annotated[
        float, Field(ge=0, lt=1, description="share of the words that a new model decides anew, with the same chance to fail")
    ] = 0.1
    gold_accepted: Annotated[
        Rate, Field(description="share of the clips without a reference that the gold model's accepted answers make trainable")
    ] = 0.6
    boot_s: Annotated[float, Field(ge=0, description="seconds from the start of a machine to the trainer's first act")] = 420.0
    train_rtf: Annotated[float, Field(gt=0, description="machine seconds for a second of audio trained on once")] = 0.02
    transcribe_rtf: Annotated[float, Field(gt=0, description="machine seconds for a second of audio transcribed by one model")] = 0.01
    epochs_run: Annotated[float, Field(gt=0, le=1, description="share of the policy's epochs that a run takes")] = 1.0
    preemptions_per_h: Annotated[float, Field(ge=0, description="preemptions in an hour of a machine at work")] = 0.0
    approve_after_h: Annotated[float, Field(ge=0, description="hours until a person approves a cycle, where the policy asks one")] = 8.0
    promote_after_h: Annotated[float, Field(ge=0, description="hours until a person promotes a version, where the policy asks one")] = 8.0
    look_again: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="a refused cycle is looked at again once it has collected so much longer (every few minutes in production)",
        ),
    ] = 0.15
    resolution_s: Annotated[float, Field(ge=60, le=3600, description="seconds between two ticks (60 in production)")] = 1800.0


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

    meanings = {name: field.description or "" for name, field in Assumptions.model_fields.items()}
    return tuple(
        Stated(name=name, value=value, meaning=meanings[name], origin=origin(name), basis="" if name in given else measured.get(name, ""))
        for name, value in made.model_dump().items()
        if name not in set(unused)
    )
