"""What an operator decides once: when to train, on how much, and what may be deployed without asking."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.budget import AttemptCost, BudgetPolicy, expected, gpu_hours, over_budget, spent
from shared.cycle import CycleState, Status
from shared.documents import Frozen
from shared.events import Rate
from shared.gold import GoldConfig
from shared.rates import wilson_lower_bound
from shared.sizing import BINDING_CYCLES, Measured, Sizing, size_next
from shared.totals import Totals
from shared.training import TrainingConfig
from shared.wer_power import Holdout

FORCED = "forced by a person"
"""Stands as the reason of a cycle that a person started, and gave none."""


class SuitePolicy(Frozen):
    """A regression suite that must stay good.

    Attributes:
        margin: how much WER may rise (absolute, one-sided upper confidence limit) and still count as no worse; None = the margin that
            is stored with the suite.
    """

    margin: Annotated[float, Field(gt=0, le=1)] | None = None


class ValidationPolicy(Frozen):
    """The gate.

    Attributes:
        alpha: one-sided error rate of the superiority test and of each suite's non-inferiority test.
        min_relative_gain: a gain that is surely smaller than this is not worth a deployment.
        suites: name -> what the suite demands.
        suites_stand_for_traffic: let the named suites stand for the traffic that nobody reported when there is no
            sample of it; the report says so at its top.
        max_failure_rise: bearable rise of each kind of failure: silence, loops, invented words, deletions, insertions, characters.
        critical_terms: words or phrases that must not be heard less often than before.
        max_latency_ratio: bearable ratio of the candidate's time to transcribe to the base's, on one machine.
        max_size_ratio: bearable ratio of the sizes of their files; a model imported in half precision doubles once it is trained.
    """

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    min_relative_gain: Rate = 0.0
    suites: dict[str, SuitePolicy] = {}
    suites_stand_for_traffic: bool = False
    max_failure_rise: Rate = 0.01
    critical_terms: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    max_latency_ratio: Annotated[float, Field(ge=1)] = 1.5
    max_size_ratio: Annotated[float, Field(ge=1)] = 2.5


class CanaryPolicy(Frozen):
    """How a new version proves itself on traffic: by reported errors per served utterance.

    First beside the stable version (canary), then against what was stable before (guard). At an error rate p it takes
    about 11 * effect * (1 - p) / (p * margin^2) utterances of the canary to prove that it is no worse, where `effect` is
    how much more the rate varies than if utterances were independent, often 2 to 4: at 10% and a margin of 0.2 some
    5,000 to 10,000.

    Attributes:
        percent: an accepted version first serves this share of the sessions; 0 = it transcribes beside, and serves
            nobody; None = no canary, it is promoted at once.
        margin: promoted when its error rate is surely less than this much worse, relative to the stable version's.
        alpha: one-sided error rate of each test, over all looks together.
        min_utterances: neither is believed before each version has served so many.
        session_s: most sessions end, and their errors are reported, within so many seconds; what comes in earlier after
            a move is not counted.
        min_duration_s: no promotion before.
        max_duration_s: the deadline of a canary.
        on_deadline: what happens then without a verdict.
        on_silence: what happens when the canary's traffic does not come: fewer than `min_utterances` by the deadline,
            or none while its share of the stable version's would be as many.
        guard_s: how long a version is watched after it was promoted; 0 = not at all.
        guard_margin: rolled back when its error rate is surely more than this much worse, relative to what the stable
            version before it showed until the promotion. There is no control beside it: another hour, other callers or
            a new way of finding errors look like a bad model, and the margin is for them. Where nothing comes to
            compare, it stays.
    """

    percent: Annotated[int, Field(ge=0, le=99)] | None = None
    margin: Annotated[float, Field(gt=0, le=10)] = 0.2
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    min_utterances: Annotated[int, Field(ge=1)] = 200
    session_s: Annotated[float, Field(ge=0)] = 600.0
    min_duration_s: Annotated[float, Field(ge=0)] = 3600.0
    max_duration_s: Annotated[float, Field(gt=0)] = 86_400.0
    on_deadline: Literal["promote", "rollback"] = "rollback"
    on_silence: Literal["promote", "rollback"] = "rollback"
    guard_s: Annotated[float, Field(ge=0)] = 86_400.0
    guard_margin: Annotated[float, Field(gt=0, le=10)] = 0.5

    @model_validator(mode="after")
    def _check_durations(self) -> Self:
        if self.max_duration_s < self.min_duration_s + self.session_s:
            raise ValueError(
                f"max_duration_s: expected at least min_duration_s + session_s = {self.min_duration_s + self.session_s:g}, "
                f"found {self.max_duration_s:g}"
            )
        return self


class Policy(Frozen):
    """Every number that an operator may set.

    Attributes:
        min_error_cases: so many new errors cross the threshold.
        min_corrected_cases: so many new errors with a person's reference cross the threshold.
        trigger_on_error_rate, error_rate_threshold: cross when the lower confidence bound of the stable model's error
            rate is above the threshold.
        max_age_s: the oldest collected error crosses when it has waited that long; None = never.
        auto_approve_finetuning: start without waiting for `approve`.
        auto_deploy: promote an accepted candidate, or begin its canary and promote it on that, without waiting for `promote`.
        cooldown_s: rest after a cycle has ended.
        min_trainable_clips, min_speakers: an unforced cycle with fewer cannot teach or cannot be judged.
        min_audio: so many different recordings an unforced cycle needs: a hundred reports of one clip are one clip.
        min_detectable_gain: an unforced cycle needs a holdout that can show this relative gain in WER; advice until two cycles have been
            measured, then a brake.
        budget: what all training together may cost; force does not skip it.
        max_attempts: trainings per cycle before it has failed.
        spot_attempts: so many attempts of a cycle may be taken away by Spot; later ones run on demand, where the machines allow it.
        max_attempt_s: a machine of Google's ends after so long, whatever it does; the next attempt goes on from the checkpoint.
        preparing_lease_s: how long a cycle may stand still in `preparing` before the sweeper carries it on.
        heartbeat_timeout_s: silence of a trainer that counts as an interruption.
        decline_backoff_s: how long a decline stands before the same crossing is looked at again.
        dev_share, holdout_share: shares of the speakers.
        holdout_cap: newest utterances of the holdout in use.
        keep_models: `retune models gc` leaves so many of the newest models, whatever became of them.
        gold: whom the trainer asks for transcripts of errors that nobody corrected; what it accepts may train, never judge. None = nobody.
    """

    min_error_cases: Annotated[int, Field(ge=1)] = 100
    min_corrected_cases: Annotated[int, Field(ge=1)] = 50
    trigger_on_error_rate: bool = False
    error_rate_threshold: Rate = 0.15
    max_age_s: Annotated[float, Field(gt=0)] | None = None
    auto_approve_finetuning: bool = False
    auto_deploy: bool = False
    cooldown_s: Annotated[float, Field(ge=0)] = 3600.0
    min_trainable_clips: Annotated[int, Field(ge=1)] = 10
    min_speakers: Annotated[int, Field(ge=1)] = 2
    min_audio: Annotated[int, Field(ge=1)] = 10
    min_detectable_gain: Annotated[float, Field(gt=0, le=1)] = 0.25
    budget: BudgetPolicy = BudgetPolicy()
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    spot_attempts: Annotated[int, Field(ge=0, le=20)] = 2
    max_attempt_s: Annotated[float, Field(ge=600, le=604_800)] = 43_200.0
    preparing_lease_s: Annotated[float, Field(gt=0)] = 900.0
    heartbeat_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    decline_backoff_s: Annotated[float, Field(ge=0)] = 300.0
    dev_share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    holdout_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    holdout_cap: Annotated[int, Field(ge=1)] = 3000
    keep_models: Annotated[int, Field(ge=1)] = 10
    judge_on_llm_gold: bool = False
    validation: ValidationPolicy = ValidationPolicy()
    canary: CanaryPolicy = CanaryPolicy()
    training: TrainingConfig = TrainingConfig()
    gold: GoldConfig | None = None


class TriggerDecision(Frozen):
    """Whether to start a cycle, with every reason for and against and the numbers behind them.

    Attributes:
        crossed: reasons for: thresholds that are reached.
        held: reasons against: brakes that hold, or that no threshold is reached.
        notes: what speaks against a run and does not hold it: advice, and what force has skipped.
        not_before: when a brake that only time opens will open.
    """

    should_trigger: bool
    crossed: tuple[str, ...]
    held: tuple[str, ...]
    metrics: dict[str, float | int | None]
    notes: tuple[str, ...] = ()
    not_before: datetime | None = None


class Evidence(Frozen):
    """What `decide_trigger` looks at.

    Attributes:
        totals: of the new events (never of carried ones).
        stable: the stable version; None when no model was imported yet.
        trainable, speakers, audio: exact numbers, known only to the launcher; None = not counted. `audio`: different recordings.
        costs: of earlier attempts to train; None = not looked at.
        holdout: that the next cycle is expected to be judged on: what has accumulated, and the part of what was collected since that will
            join it. None = not looked at.
        measured: by earlier verdicts, newest first.
    """

    totals: Totals
    stable: int | None = None
    trainable: int | None = None
    speakers: int | None = None
    audio: int | None = None
    costs: tuple[AttemptCost, ...] | None = None
    holdout: Holdout | None = None
    measured: tuple[Measured, ...] = ()


def decide_trigger(
    evidence: Evidence, policy: Policy, history: Sequence[CycleState], now: datetime, *, forced: bool = False
) -> TriggerDecision:
    """Decide whether a cycle should start.

    Force skips thresholds, age, cooldown, the minimum of speakers, recordings and clips, and the power to detect (the decision says so
    then); never: one cycle at a time, the budget, a stable model, at least one trainable clip.

    Args:
        evidence: what was collected.
        policy: the operator's numbers.
        history: states of earlier cycles, any order.
        now: the present time.
        forced: a person asked for it.
    """
    crossed = thresholds_reached(evidence, policy, now)
    if forced:
        crossed = (FORCED, *crossed)
    sizing = _sizing(evidence, policy)
    unskippable, opens = _always(evidence, policy, history, now)
    held = unskippable
    if not forced:
        skippable, rested = _unless_forced(evidence, policy, history, now)
        held, opens = [*held, *skippable], [*opens, *rested]
        if sizing is not None and sizing.binding and not sizing.enough:
            held.append(sizing.text)
    if not crossed:
        held.append("no threshold is reached")
    return TriggerDecision(
        should_trigger=bool(crossed) and not held,
        crossed=crossed,
        held=tuple(held),
        metrics=_metrics(evidence, policy, sizing, now),
        notes=tuple(_notes(sizing, forced=forced)),
        not_before=max(opens, default=None),
    )


def _sizing(evidence: Evidence, policy: Policy) -> Sizing | None:
    if evidence.holdout is None:
        return None
    return size_next(evidence.holdout, evidence.measured, policy.min_detectable_gain, policy.validation.alpha, policy.holdout_share)


def _notes(sizing: Sizing | None, *, forced: bool) -> Iterator[str]:
    if sizing is None or sizing.enough:
        return
    if not sizing.binding:
        yield f"advice until {BINDING_CYCLES} cycles have been measured: {sizing.text}"
    elif forced:
        yield f"skipped by force: {sizing.text}"


def thresholds_reached(evidence: Evidence, policy: Policy, now: datetime) -> tuple[str, ...]:
    """Return every threshold that the evidence reaches, in words."""
    totals = evidence.totals
    reasons = []
    if totals.errors >= policy.min_error_cases:
        reasons.append(f"{totals.errors} errors, at least {policy.min_error_cases} wanted")
    if totals.corrected >= policy.min_corrected_cases:
        reasons.append(f"{totals.corrected} corrected errors, at least {policy.min_corrected_cases} wanted")
    bound = _error_rate(evidence)["error_rate_lower_bound"]
    if policy.trigger_on_error_rate and bound is not None and bound > policy.error_rate_threshold:
        reasons.append(f"error rate surely above {policy.error_rate_threshold:.1%} (lower 95% bound {bound:.1%})")
    if policy.max_age_s is not None and totals.oldest is not None:
        age_s = (now - totals.oldest).total_seconds()
        if age_s >= policy.max_age_s:
            reasons.append(f"oldest error has waited {age_s / 3600:.1f} h, at most {policy.max_age_s / 3600:.1f} h wanted")
    return tuple(reasons)


def _always(evidence: Evidence, policy: Policy, history: Sequence[CycleState], now: datetime) -> tuple[list[str], list[datetime]]:
    """Return the brakes that hold whoever asks, and when those open that time opens."""
    held, opens = [], []
    if evidence.stable is None:
        held.append("no model is stable yet: run `retune models import DIR|HUB_ID --promote`")
    held.extend(f"cycle {state.cycle} is {state.status}: one cycle at a time" for state in history if not state.ended)
    if evidence.trainable == 0:
        held.append("no clip can be trained on: not one error has a person's reference and readable audio")
    for reason, frees in over_budget(evidence.costs or (), policy.budget, now):
        held.append(reason)
        opens.extend([frees] if frees is not None else [])
    return held, opens


def _unless_forced(evidence: Evidence, policy: Policy, history: Sequence[CycleState], now: datetime) -> tuple[list[str], list[datetime]]:
    held, opens = [], []
    ended = [state.since for state in history if state.ended and state.status != Status.CANCELLED and not state.imported]
    rest_until = max(ended) + timedelta(seconds=policy.cooldown_s) if ended else now
    if rest_until > now:
        opens.append(rest_until)
        held.append(f"cooldown until {rest_until.isoformat(timespec='seconds')}")
    if evidence.trainable is not None and 0 < evidence.trainable < policy.min_trainable_clips:
        held.append(f"{evidence.trainable} trainable clips, at least {policy.min_trainable_clips} wanted")
    if evidence.speakers is not None and evidence.speakers < policy.min_speakers:
        held.append(f"{evidence.speakers} speakers, at least {policy.min_speakers} wanted")
    if evidence.audio is not None and evidence.audio < policy.min_audio:
        held.append(f"{evidence.audio} different recordings, at least {policy.min_audio} wanted")
    return held, opens


def _metrics(evidence: Evidence, policy: Policy, sizing: Sizing | None, now: datetime) -> dict[str, float | int | None]:
    totals, costs = evidence.totals, evidence.costs
    priced = policy.budget.usd_per_hour(None) is not None
    return {
        "errors": totals.errors,
        "min_error_cases": policy.min_error_cases,
        "corrected": totals.corrected,
        "min_corrected_cases": policy.min_corrected_cases,
        "samples": totals.samples,
        **_error_rate(evidence),
        "error_rate_threshold": policy.error_rate_threshold,
        "trainable": evidence.trainable,
        "speakers": evidence.speakers,
        "different_recordings": evidence.audio,
        "gpu_hours_spent": spent(costs, gpu_hours, policy.budget.period, now) if costs is not None else None,
        "gpu_hours_expected": expected(costs or (), gpu_hours),
        "usd_spent": spent(costs, policy.budget.usd, policy.budget.period, now) if costs is not None and priced else None,
        "usd_expected": expected(costs or (), policy.budget.usd) if priced else None,
        "holdout_utterances": evidence.holdout.utterances if evidence.holdout else None,
        "holdout_speakers": evidence.holdout.clusters if evidence.holdout else None,
        "cycles_measured": sizing.measured if sizing else None,
        "detectable_gain": sizing.detectable_gain if sizing else None,
        "min_detectable_gain": policy.min_detectable_gain,
        "further_holdout_utterances": sizing.further_utterances if sizing else None,
    }


def _error_rate(evidence: Evidence) -> dict[str, float | int | None]:
    totals = evidence.totals
    version = evidence.stable if evidence.stable is not None else -1
    errors = totals.errors_by_version.get(version, 0)
    utterances = totals.utterances_by_version.get(version, 0)
    known = utterances > 0
    return {
        "utterances": utterances,
        "error_rate": min(errors / utterances, 1.0) if known else None,
        "error_rate_lower_bound": wilson_lower_bound(min(errors, utterances), utterances) if known else None,
    }
