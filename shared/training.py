"""What launcher, trainer and validator agree on: the spec with its clips and settings, the run's signs of life, and its result.

All but the signs of life are written once and referred to by digest.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, Field

from shared.audio_source import AudioPin
from shared.documents import Frozen
from shared.events import Digest, Noise, TrainingCompleted
from shared.gold import GoldConfig
from shared.ids import derived_event_id

Stratum = Literal["errors", "traffic", "suite", "replay"]
ClipProvenance = Literal["human", "llm", "champion"]
SetRole = Literal["train_errors", "train_replay", "train_unlabelled", "dev_errors", "dev_replay", "judge", "recheck"]
TRAINING_ROLES: tuple[SetRole, ...] = ("train_errors", "train_replay", "dev_errors", "dev_replay")
"""What is trained on and tuned on."""
HEARD_ROLES: tuple[SetRole, ...] = ("judge", "recheck")
"""What base and candidate transcribe at the end."""


class ObjectRef(Frozen):
    """An object and what its bytes must hash to."""

    key: str
    sha256: Digest


class Clip(Frozen):
    """One utterance to train or judge on.

    Attributes:
        cluster: keyed hash of the speaker (else session, else audio): the resampling unit of every statistic.
        stratum: how it came to us.
        weight: inverse of the probability with which it came (Horvitz-Thompson): 1 for a reported error, 1/p for an
            unreported utterance of a p-sample of traffic.
        provenance: whose word the reference is; `champion` = the served hypothesis that nobody objected to.
        error_type, language, device, noise: as the service reported them; the validator looks at each value apart.
    """

    utterance_id: str
    cluster: str
    stratum: Stratum
    audio: AudioPin
    reference: str
    provenance: ClipProvenance
    weight: Annotated[float, Field(gt=0.0)] = 1.0
    duration_s: float | None = None
    error_type: str | None = None
    language: str | None = None
    device: str | None = None
    noise: Noise | None = None


class UnlabelledClip(Frozen):
    """A reported error that nobody has corrected yet: the trainer may make gold for it, and train on what it accepts.

    Attributes:
        hypothesis: what production heard, and somebody called wrong.
    """

    utterance_id: str
    cluster: str
    audio: AudioPin
    hypothesis: str
    duration_s: float | None = None


AnyClip = TypeVar("AnyClip", Clip, UnlabelledClip)


class ClipSet(Frozen):
    """A named set of clips: JSON lines of `Clip`, of `UnlabelledClip` for the role `train_unlabelled`, at `ref.key`.

    A set of role `judge` is evaluated with base and candidate; `suite-<name>` are regression suites, `holdout` is the
    accumulated holdout. A set of role `recheck` is evaluated likewise and decides nothing: its clips were trained on, or chosen
    because a model transcribes them rightly.

    Attributes:
        margin: of a suite: the rise of WER that was stored with it when the spec was made.
        version: of a suite: digest of the clips that it had then.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,60}$")]
    role: SetRole
    ref: ObjectRef
    clips: Annotated[int, Field(ge=0)]
    margin: Annotated[float, Field(gt=0, le=1)] | None = None
    version: Digest | None = None


class BaseModelRef(Frozen):
    """The stable model at launch, which training starts from."""

    version: Annotated[int, Field(ge=0)]
    manifest: ObjectRef


class LoraConfig(Frozen):
    """Low-rank adaptation (Hu et al. 2021). `alpha / rank` scales the update.

    Attributes:
        top_layers: adapt only so many of the encoder's topmost layers, and the head; None = all layers, the feature projection too.
            What lies below is frozen: it needs no gradients, and is computed once for each clip where nothing disturbs the audio.
    """

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    top_layers: Annotated[int, Field(ge=1)] | None = None


class SpecAugment(Frozen):
    """Masks over the projected features while training (Park et al. 2019, arXiv:1904.08779).

    Attributes:
        time_share: share of a clip's frames that masks may start to cover; no clip, however short, loses more than this share.
        time_frames: length of one mask in frames; a clip too short for one is left alone.
        channel_share: share of the channels that are masked, over the whole clip.
        channel_width: channels of one mask.
    """

    time_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    time_frames: Annotated[int, Field(ge=1)] = 10
    channel_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    channel_width: Annotated[int, Field(ge=1)] = 16


class Augmentation(Frozen):
    """Replay clips made to sound like the errors while training; what the errors sound like is measured on their own audio.

    Attributes:
        share: of the replay clips, drawn anew in each epoch; their features cannot be cached.
        noise: add noise of the spectrum and the level that the errors' pauses have.
        equalise: give the clip the errors' long-term spectrum, a telephone's band limit included.
        reverb_rt60_s: range of the reverberation time of a synthetic room; None = no room.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    noise: bool = True
    equalise: bool = True
    reverb_rt60_s: tuple[Annotated[float, Field(gt=0, le=2)], Annotated[float, Field(gt=0, le=2)]] | None = None


class TrainingConfig(Frozen):
    """Hyper-parameters of a run.

    Attributes:
        method: `lora` trains adapters in a frozen network, `full` everything but the convolutions.
        learning_rate: peak of the linear schedule after `warmup_ratio` of the steps; None = by the network's width and the method
            (`trainer.learning.settings.default_learning_rate`).
        max_batch_s: audio in one batch, padding included, whatever `batch_size` allows.
        precision: of forward and backward passes; `auto` = bf16 on a GPU that has it, else fp32. The CTC loss is always fp32.
        feature_cache: keep what the frozen part of the network makes of each clip; `auto` = where that was measured to win.
        gradient_checkpointing: compute activations twice instead of keeping them.
        patience: stop after so many epochs without a better WER on the dev errors and take the best epoch; None = never.
        average_checkpoints: also try the mean of the weights of so many best epochs, taken only if its dev WER is lower; 1 = off.
        spec_augment, augmentation: None = off.
        max_train_s: stop training after so long and take the best epoch; None = never.
        checkpoint_interval_s: a preempted or killed run loses at most so much of its training, and one step.
        lambdas: scales of the update that are tried on dev, from 1 downwards; 0 (the base) is always allowed.
        clean_margin: how much the WER on dev replay may rise above the base's (absolute, 0.005 = half a point).
        max_duration_s, min_duration_s: training and dev clips outside are set aside.
        max_chars_per_s: a training reference that is denser cannot have been spoken and is set aside.
        language: of the references (ISO 639-1), in which numbers are written out before training; None = a reference with digits is
            set aside.
    """

    seed: int = 0
    method: Literal["lora", "full"] = "lora"
    epochs: Annotated[int, Field(ge=1, le=1000)] = 12
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 8
    max_batch_s: Annotated[float, Field(gt=0)] = 160.0
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    replay_ratio: Annotated[float, Field(ge=0)] = 1.0
    lora: LoraConfig = LoraConfig()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    feature_cache: Literal["auto", "on", "off"] = "auto"
    gradient_checkpointing: bool = False
    patience: Annotated[int, Field(ge=1)] | None = 4
    average_checkpoints: Annotated[int, Field(ge=1, le=20)] = 1
    spec_augment: SpecAugment | None = None
    augmentation: Augmentation | None = None
    max_train_s: Annotated[float, Field(gt=0)] | None = None
    checkpoint_interval_s: Annotated[float, Field(gt=0)] = 300.0
    lambdas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    clean_margin: Annotated[float, Field(ge=0)] = 0.005
    min_duration_s: float = 0.25
    max_duration_s: float = 30.0
    max_chars_per_s: float = 40.0
    sampling_rate_hz: int = 16_000
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None


class TrainingSpec(Frozen):
    """All that the trainer needs to know about one cycle; the attempt comes with the start.

    Attributes:
        gold: whom to ask for the transcripts of `train_unlabelled` clips; None = nobody.
        policy: the operator's numbers then; None in specs of older releases.
    """

    v: Literal[1] = 1
    cycle: Annotated[int, Field(ge=1)]
    created_at: AwareDatetime
    base: BaseModelRef
    dataset: ObjectRef
    sets: tuple[ClipSet, ...]
    config: TrainingConfig = TrainingConfig()
    gold: GoldConfig | None = None
    audio_prefixes: tuple[str, ...]
    policy: ObjectRef | None = None


class EvaluationRow(Frozen):
    """What base and candidate heard in one clip of a set."""

    utterance_id: str
    cluster: str
    stratum: Stratum
    reference: str
    base_hypothesis: str
    candidate_hypothesis: str


SetAsideReason = Literal[
    "missing",
    "changed",
    "empty",
    "not_audio",
    "wrong_rate",
    "too_short",
    "too_long",
    "silence",
    "bad_reference",
    "too_dense",
    "duplicate",
    "not_allowed",
    "gold_rejected",
    "gold_awaits_review",
    "forgotten",
    "split_conflict",
]


class SetAside(Frozen):
    """A clip that was left out, and why."""

    utterance_id: str
    set_name: str
    reason: SetAsideReason
    detail: str = ""


class EvaluationRef(Frozen):
    """The stored hypotheses on one set."""

    name: str
    ref: ObjectRef
    rows: int


class LambdaTrial(Frozen):
    """Dev WER at one adapter scale (None = the set is empty)."""

    scale: float
    dev_errors_wer: float | None
    dev_replay_wer: float | None


class ServingFigures(Frozen):
    """What transcribing costs with both models, measured side by side on the machine that evaluated them.

    Attributes:
        audio_s: audio that each model transcribed while it was timed, in seconds.
        base_rtf, candidate_rtf: seconds of computing for a second of audio.
        smoke_test_passed: a fresh process loaded the candidate from its files and transcribed as expected.
    """

    audio_s: Annotated[float, Field(ge=0)]
    base_rtf: Annotated[float, Field(ge=0)]
    candidate_rtf: Annotated[float, Field(ge=0)]
    smoke_test_passed: bool


class TrainingResult(Frozen):
    """The trainer's last word; the validator recomputes everything from the rows that it refers to."""

    v: Literal[1] = 1
    cycle: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)]
    finished_at: AwareDatetime
    spec_sha256: Digest
    base: BaseModelRef
    manifest: ObjectRef
    evaluations: tuple[EvaluationRef, ...]
    set_aside: tuple[SetAside, ...]
    lambda_trials: tuple[LambdaTrial, ...]
    scale: float
    train: dict[str, Any]
    serving: ServingFigures | None = None


class Heartbeat(Frozen):
    """The trainer's sign of life at `runs/n/heartbeat.json`: `done` of `total` pieces of `phase`."""

    cycle: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)]
    at: AwareDatetime
    phase: str
    done: Annotated[int, Field(ge=0)] = 0
    total: Annotated[int, Field(ge=0)] = 0


class EpochFigures(Frozen):
    """What one epoch came to.

    Attributes:
        epoch: from 1.
        loss: mean over its steps.
        dev_errors_wer, dev_replay_wer: afterwards; None = no dev clips.
    """

    epoch: Annotated[int, Field(ge=1)]
    loss: float
    dev_errors_wer: float | None = None
    dev_replay_wer: float | None = None


class RunProgress(Frozen):
    """How a run is doing, at `runs/n/progress.json`, beside the heartbeat and for people only: nothing is decided by it.

    Attributes:
        left_s: seconds until the phase is over, at the speed of the phase so far; None = nobody can tell yet.
        loss: of the last step.
        epochs: the newest, oldest first.
    """

    cycle: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)]
    at: AwareDatetime
    phase: str
    done: Annotated[int, Field(ge=0)] = 0
    total: Annotated[int, Field(ge=0)] = 0
    left_s: Annotated[float, Field(ge=0)] | None = None
    loss: float | None = None
    epochs: tuple[EpochFigures, ...] = ()


def completed_event(result: TrainingResult) -> TrainingCompleted:
    """Return the event that tells of a result: the same one from the trainer and, should that have died, from the sweeper."""
    return TrainingCompleted(
        event_id=derived_event_id("TrainingCompleted", f"cycle-{result.cycle}", f"attempt-{result.attempt}"),
        occurred_at=result.finished_at,
        cycle=result.cycle,
        attempt=result.attempt,
    )
