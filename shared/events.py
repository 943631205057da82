"""Every event that crosses a topic; `shared.messages` is how they travel."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from shared.keys import MAX_NUMBER

STT_ERRORS = "stt-errors"
FINETUNE_TRIGGERS = "finetune-triggers"
TRAINING_EVENTS = "training-events"
VALIDATION_EVENTS = "validation-events"
MODEL_COMMANDS = "model-commands"
MODEL_EVENTS = "model-events"
TICKS = "ticks"
TOPICS = (STT_ERRORS, FINETUNE_TRIGGERS, TRAINING_EVENTS, VALIDATION_EVENTS, MODEL_COMMANDS, MODEL_EVENTS, TICKS)

DEFAULT_PERCENT = 10
"""Share of the sessions that a canary serves where nobody says another."""
MAX_TEXT_CHARS = 10_000
MAX_REASON_CHARS = 2_000
MAX_NAME_CHARS = 200
CLAIMED = "(claimed)"
"""Ends the name under which a function records what a person asked for."""
MAX_REASONS = 100
MAX_COUNT = 10**12
MAX_SECONDS = 366 * 86_400.0

Id = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def _in_range(at: datetime) -> datetime:
    """Refuse a time that cannot be told in every time zone, or that nothing can be added to."""
    if not _EARLIEST <= at <= _LATEST:
        raise ValueError(f"expected a time between {_EARLIEST.year} and {_LATEST.year}")
    return at


Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Reason = Annotated[str, Field(max_length=MAX_REASON_CHARS)]
Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Rate = Annotated[float, Field(ge=0.0, le=1.0)]
ReferenceProvenance = Literal["human", "llm"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, Field(max_length=100)]
Cycle = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
Version = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Seconds = Annotated[float, Field(ge=0.0, le=MAX_SECONDS)]
Reasons = Annotated[tuple[Reason, ...], Field(max_length=MAX_REASONS)]
Noise = Label | Annotated[float, Field(ge=-100.0, le=100.0)]
"""The name of what is heard behind the speech, or the signal-to-noise ratio in dB."""


class Event(BaseModel):
    """What all events have; unknown fields are ignored so that a newer publisher does not break an older reader."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    event_id: Id
    occurred_at: Moment


class Utterance(Event):
    """One transcribed utterance of the production service.

    Attributes:
        utterance_id: the service's name of the utterance; the same in its error, sample and correction.
        audio_uri: `gs://` or `file://` address of mono 16 kHz audio; never audio itself.
        hypothesis: what the service transcribed.
        model_version: the version that transcribed it (0 for the imported first model).
        reference: what a person says was said.
        confidence: the service's own, in [0, 1].
        duration_s: length of the audio in seconds.
        language: BCP 47 tag.
        device: what the audio came through, in the service's own words (`telephone`, `headset`).
        noise: the name of what is heard behind the speech, or the signal-to-noise ratio in dB.
    """

    utterance_id: Id
    audio_uri: Annotated[str, Field(min_length=1, max_length=2048)]
    hypothesis: Text
    model_version: Version
    reference: Text | None = None
    reference_provenance: ReferenceProvenance | None = None
    confidence: Rate | None = None
    speaker_id: Id | None = None
    session_id: Id | None = None
    duration_s: Seconds | None = None
    language: Annotated[str, Field(max_length=35)] | None = None
    device: Label | None = None
    noise: Noise | None = None


class SttError(Utterance):
    """The service transcribed this utterance wrongly (a user corrected it, a rule fired, an agent flagged it)."""

    type: Literal["SttError"] = "SttError"
    error_type: Label | None = None


class SttSample(Utterance):
    """An utterance from a random share of all traffic, error or not.

    Attributes:
        sample_rate: the probability in (0, 1] with which the utterance was drawn; without it the share of samples in
            the counted traffic stands for it.
        shadow_hypothesis: what the version on canary or in shadow transcribed beside, served to nobody.
        shadow_version: that version.
    """

    type: Literal["SttSample"] = "SttSample"
    sample_rate: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    shadow_hypothesis: Text | None = None
    shadow_version: Version | None = None


class SttCorrection(Event):
    """What was really said in an utterance that was published before (or will be).

    Attributes:
        by: who says so, as they claim; None = a user of the service.
        reason: why, in their words.
    """

    type: Literal["SttCorrection"] = "SttCorrection"
    utterance_id: Id
    reference: Text
    reference_provenance: ReferenceProvenance = "human"
    by: Name | None = None
    reason: Reason | None = None


class SttTraffic(Event):
    """How many utterances a model version served in an interval ending at `occurred_at`."""

    type: Literal["SttTraffic"] = "SttTraffic"
    model_version: Version
    utterances: Count
    interval_s: Annotated[float, Field(gt=0.0, le=MAX_SECONDS)]


class ThresholdCrossed(Event):
    """The collected evidence of a cycle reached a threshold (a level, not an edge: it may come again)."""

    type: Literal["ThresholdCrossed"] = "ThresholdCrossed"
    cycle: Cycle
    reasons: Reasons = ()


class PersonCommand(Event):
    """A command of a person. `by` is a claim and is recorded as one.

    Attributes:
        by: who says that they sent it.
        reason: why, in their words.
    """

    by: Name | None = None
    reason: Reason | None = None

    @property
    def claim(self) -> str | None:
        """Who sent it, as it goes on record; None = nobody says."""
        return f"{self.by} {CLAIMED}" if self.by else None


class FinetuneRequested(PersonCommand):
    """Start a cycle now: skips thresholds, age, cooldown and approval; nothing else."""

    type: Literal["FinetuneRequested"] = "FinetuneRequested"


class FinetuneApproved(PersonCommand):
    """Let the cycle that awaits approval go on (the named one, or the only one)."""

    type: Literal["FinetuneApproved"] = "FinetuneApproved"
    cycle: Cycle | None = None


class FinetuneCancelled(PersonCommand):
    """Cancel the running cycle (the named one, or the only one)."""

    type: Literal["FinetuneCancelled"] = "FinetuneCancelled"
    cycle: Cycle | None = None


class TrainingEvent(Event):
    """What the trainer of one attempt has to say."""

    cycle: Cycle
    attempt: Annotated[int, Field(ge=1, le=MAX_NUMBER)]


class TrainingCompleted(TrainingEvent):
    """`result.json` of the cycle is written and names a complete model."""

    type: Literal["TrainingCompleted"] = "TrainingCompleted"


FailureReason = Literal[
    "bad_spec",
    "bad_base_model",
    "bad_dataset",
    "no_trainable_clips",
    "gold_unavailable",
    "out_of_memory",
    "diverged",
    "smoke_test_failed",
    "store_unavailable",
    "machine_failed",
    "internal",
]


class TrainingFailed(TrainingEvent):
    """The attempt ended without a model.

    Attributes:
        reason: a closed list of causes, so that the launcher can tell what a new attempt may mend.
        detail: for people.
    """

    type: Literal["TrainingFailed"] = "TrainingFailed"
    reason: FailureReason
    detail: Reason = ""


class TrainingPreempted(TrainingEvent):
    """The machine was taken away; the attempt may be followed by another."""

    type: Literal["TrainingPreempted"] = "TrainingPreempted"


class Judged(Event):
    """What the validator decided about the candidate of a cycle; only the report tells why."""

    cycle: Cycle
    report_sha256: Digest
    manifest_sha256: Digest


class CandidateAccepted(Judged):
    """The candidate is better and hurts no suite."""

    type: Literal["CandidateAccepted"] = "CandidateAccepted"


class CandidateRejected(Judged):
    """The candidate is not good enough, or hurts."""

    type: Literal["CandidateRejected"] = "CandidateRejected"


class CandidateInconclusive(Judged):
    """The evidence does not decide."""

    type: Literal["CandidateInconclusive"] = "CandidateInconclusive"


class PromoteRequested(PersonCommand):
    """Make a version stable. `override` with a reason skips the evidence, never the digests."""

    type: Literal["PromoteRequested"] = "PromoteRequested"
    version: Version
    override: bool = False


class RollbackRequested(PersonCommand):
    """Withdraw a live version: the named one, else the canary, else the stable one.

    Attributes:
        version: the version to withdraw.
        to: the earlier stable version that shall serve then; None = the last good one.
    """

    type: Literal["RollbackRequested"] = "RollbackRequested"
    version: Version | None = None
    to: Version | None = None


class CanaryRequested(PersonCommand):
    """Serve an accepted version to a share of the sessions; 0 percent = let it transcribe beside the stable one, and serve nobody."""

    type: Literal["CanaryRequested"] = "CanaryRequested"
    version: Version
    percent: Annotated[int, Field(ge=0, le=99)] = DEFAULT_PERCENT


class WithdrawRequested(PersonCommand):
    """Mark a version as one that never comes back by itself.

    Attributes:
        collect: its files will be deleted: not even an override brings it back.
    """

    type: Literal["WithdrawRequested"] = "WithdrawRequested"
    version: Version
    collect: bool = False


class PinRequested(PersonCommand):
    """Keep the files of a version whatever the retention says, or (`pinned` false) no longer."""

    type: Literal["PinRequested"] = "PinRequested"
    version: Version
    pinned: bool = True


class RegistryEvent(Event):
    """A move of the production alias; a reader that sees an older `seq`, or a gap, reads the alias again."""

    seq: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    version: Version
    stable: Version | None
    reason: Reason = ""


class ModelDeployed(RegistryEvent):
    """`version` is stable now."""

    type: Literal["ModelDeployed"] = "ModelDeployed"


class CanaryStarted(RegistryEvent):
    """`version` serves `percent` of the sessions now; with 0 it is in shadow."""

    type: Literal["CanaryStarted"] = "CanaryStarted"
    percent: Annotated[int, Field(ge=0, le=99)]


class CanaryEnded(RegistryEvent):
    """`version` serves nobody any more, since its evidence is stale; it is not withdrawn."""

    type: Literal["CanaryEnded"] = "CanaryEnded"


class ModelRolledBack(RegistryEvent):
    """`version` was withdrawn; `stable` serves."""

    type: Literal["ModelRolledBack"] = "ModelRolledBack"


class ErrorsResolved(Event):
    """`version` has become stable, stayed so, and transcribes these reported errors rightly: they are resolved by it.

    One version's errors may come in several events.

    Attributes:
        held_out: utterances that it was not trained on.
        learned: utterances that it was trained or tuned on.
    """

    type: Literal["ErrorsResolved"] = "ErrorsResolved"
    version: Version
    held_out: tuple[Id, ...] = ()
    learned: tuple[Id, ...] = ()


class Tick(Event):
    """A minute has passed."""

    type: Literal["Tick"] = "Tick"


AnyEvent = Annotated[
    SttError
    | SttSample
    | SttCorrection
    | SttTraffic
    | ThresholdCrossed
    | FinetuneRequested
    | FinetuneApproved
    | FinetuneCancelled
    | TrainingCompleted
    | TrainingFailed
    | TrainingPreempted
    | CandidateAccepted
    | CandidateRejected
    | CandidateInconclusive
    | PromoteRequested
    | RollbackRequested
    | CanaryRequested
    | WithdrawRequested
    | PinRequested
    | ModelDeployed
    | CanaryStarted
    | CanaryEnded
    | ModelRolledBack
    | ErrorsResolved
    | Tick,
    Field(discriminator="type"),
]
EVENT_TYPES: dict[str, type[Event]] = {cls.model_fields["type"].default: cls for cls in get_args(get_args(AnyEvent)[0])}

TOPIC_OF: dict[str, str] = {
    **dict.fromkeys(("SttError", "SttSample", "SttCorrection", "SttTraffic"), STT_ERRORS),
    **dict.fromkeys(("ThresholdCrossed", "FinetuneRequested", "FinetuneApproved", "FinetuneCancelled"), FINETUNE_TRIGGERS),
    **dict.fromkeys(("TrainingCompleted", "TrainingFailed", "TrainingPreempted"), TRAINING_EVENTS),
    **dict.fromkeys(("CandidateAccepted", "CandidateRejected", "CandidateInconclusive"), VALIDATION_EVENTS),
    **dict.fromkeys(("PromoteRequested", "RollbackRequested", "CanaryRequested"), MODEL_COMMANDS),
    **dict.fromkeys(("WithdrawRequested", "PinRequested"), MODEL_COMMANDS),
    **dict.fromkeys(("ModelDeployed", "CanaryStarted", "CanaryEnded", "ModelRolledBack", "ErrorsResolved"), MODEL_EVENTS),
    "Tick": TICKS,
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each event type by name (kept as goldens in `shared/schemas/`)."""
    return {name: cls.model_json_schema() for name, cls in sorted(EVENT_TYPES.items())}
