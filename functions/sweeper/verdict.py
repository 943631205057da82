"""What the numbers of a watched version come to, and which versions are watched. Pure.

Two tests, each always valid (`shared.sequential`), so that looking every minute costs nothing: is the canary worse at
all (then it goes), and is it worse by the margin (if surely not, it is promoted). A guard has no control beside it: the
new version's lower limit is held against the upper limit of what the version before showed, each at half of alpha,
beyond a wider margin.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from shared.events import PromoteRequested, RollbackRequested
from shared.ids import derived_event_id, version_name
from shared.policy import CanaryPolicy
from shared.registry import Production
from shared.sequential import FEWEST_BLOCKS, Counts, Pair, contrast, design_effect, fixed_upper, total
from shared.watch import Subject, Verdict, Watch

BY = "sweeper"
SMALLEST_RATE = 1e-4
"""Stands for the error rate of a version without errors where the scale of a difference is wanted."""
REFUSED_AFTER = timedelta(hours=1)
"""A promotion that has not happened by then was refused: a canary does not stay for ever."""


def subjects(production: Production | None, policy: CanaryPolicy) -> list[Subject]:
    """Return what is to be watched: the canary, and the stable version if a promotion made it stable."""
    found: list[Subject] = []
    if production is None or production.stable is None:
        return found
    if production.canary is not None:
        version, percent, since = production.canary.version, production.canary.percent, production.canary.since
        found.append(Subject(kind="canary", version=version, against=production.stable, since=since, percent=percent))
    last = next((move for move in reversed(production.moves) if move.stable_after != move.stable_before), None)
    if policy.guard_s and last is not None and last.kind == "promote" and last.stable_before is not None:
        found.append(Subject(kind="guard", version=production.stable, against=last.stable_before, since=last.at))
    return found


def guard_ends(subject: Subject, policy: CanaryPolicy) -> datetime:
    """Return when the guard window of a promoted version ends."""
    return subject.since + timedelta(seconds=policy.guard_s)


def decide_watch(watch: Watch, policy: CanaryPolicy, now: datetime, *, champion: int | None, auto_deploy: bool) -> Verdict:
    """Decide about a watched version.

    A rollback and the end of a guard are final. A promotion, which may wait for a person, can still become a rollback.

    Args:
        watch: what was counted.
        policy: the operator's numbers.
        now: the present time.
        champion: the version that the evidence for a canary compares with; it must still be stable.
        auto_deploy: a promotion waits for no person, so that one which does not happen was refused.
    """
    before = watch.verdict
    if before.action in {"rollback", "keep"}:
        return before
    if before.action == "promote" and auto_deploy and now >= before.at + REFUSED_AFTER:
        reason = f"the deployer has not promoted it within {_hours(REFUSED_AFTER.total_seconds())} (its log says why); {before.reason}"
        return Verdict(action="rollback", reason=reason, at=now)
    action, reason = _guard(watch, policy, now) if watch.subject.kind == "guard" else _canary(watch, policy, now, champion)
    if before.action == "promote" and action != "rollback":
        return before
    return Verdict(action=action, reason=reason, at=now)


def command_of(watch: Watch, *, auto_deploy: bool) -> PromoteRequested | RollbackRequested | None:
    """Return the command that a verdict wants sent, the very same one each time; None = none.

    Args:
        watch: with its verdict.
        auto_deploy: False leaves a promotion to a person. A rollback waits for nobody.
    """
    subject, verdict = watch.subject, watch.verdict
    if verdict.action in {"wait", "keep"} or (verdict.action == "promote" and not auto_deploy):
        return None
    kind = PromoteRequested if verdict.action == "promote" else RollbackRequested
    cause = f"{subject.kind} since {subject.since.isoformat()}"
    event_id = derived_event_id(kind.__name__, cause, version_name(subject.version))
    return kind(event_id=event_id, occurred_at=verdict.at, by=BY, reason=verdict.reason, version=subject.version)


Said = tuple[Literal["wait", "promote", "rollback", "keep"], str]


def _canary(watch: Watch, policy: CanaryPolicy, now: datetime, champion: int | None) -> Said:
    subject = watch.subject
    if champion is not None and champion != subject.against:
        stable = version_name(subject.against)
        return "rollback", f"{_name(watch)} was validated against {version_name(champion)}, but {stable} is stable now"
    percent = subject.percent or 0
    if not percent:
        return _shadow(watch, policy, now)
    pairs = watch.pairs
    counts = total(pairs)
    text = _describe(watch, counts)
    if _enough(watch, policy, counts):
        said = _compare(watch, policy, pairs)
        due = now >= subject.since + timedelta(seconds=policy.min_duration_s)
        if said[0] != "wait" and (said[0] == "rollback" or due):
            return said
        text = said[1] if said[0] == "wait" else f"{said[1]}; promoted after {_hours(policy.min_duration_s)}"
    elif counts.new.utterances == 0 and counts.old.utterances * percent >= policy.min_utterances * (100 - percent):
        return policy.on_silence, f"{text}: nothing was served by the canary, the stated default is to {_verb(policy.on_silence)}"
    else:
        text = f"{text}; {_wanted(policy)}"
    if now < subject.since + timedelta(seconds=policy.max_duration_s):
        return "wait", text
    default = policy.on_deadline if counts.new.utterances >= policy.min_utterances else policy.on_silence
    return default, f"no verdict within {_hours(policy.max_duration_s)}, the stated default is to {_verb(default)}; {text}"


def _shadow(watch: Watch, policy: CanaryPolicy, now: datetime) -> Said:
    if now < watch.subject.since + timedelta(seconds=policy.max_duration_s):
        return "wait", f"{_name(watch)} is in shadow and serves nobody: a person decides"
    default = policy.on_silence
    return default, f"{_name(watch)} was in shadow for {_hours(policy.max_duration_s)}, the stated default is to {_verb(default)}"


def _compare(watch: Watch, policy: CanaryPolicy, pairs: Sequence[Pair]) -> Said:
    """Hold the canary against the stable version: worse at all, or surely within the margin."""
    counts, session = total(pairs), policy.session_s / watch.interval_s
    scale = policy.margin * max(counts.old.rate or 0.0, SMALLEST_RATE)
    text = _describe(watch, counts)
    worse, beyond = contrast(counts, 1.0, scale), contrast(counts, 1.0 + policy.margin, scale)
    at_least = worse.lower(policy.alpha, design_effect(pairs, 1.0, session))
    if at_least > 0:
        return "rollback", f"{text}: surely worse, by at least {_points(at_least)}"
    at_most = beyond.upper(policy.alpha, design_effect(pairs, 1.0 + policy.margin, session))
    if at_most < 0:
        return "promote", f"{text}: surely less than {policy.margin:.0%} worse"
    limits = f"{_points(at_least)} at least, {_points(at_most)} beyond the margin at most"
    return "wait", f"{text}: neither surely worse nor surely less than {policy.margin:.0%} worse ({limits})"


def _guard(watch: Watch, policy: CanaryPolicy, now: datetime) -> Said:
    pairs = watch.pairs
    new, base = total(pairs).new, Counts(*watch.base)
    text = _describe(watch, Pair(new, base))
    enough = _enough(watch, policy, Pair(new, base))
    if enough:
        effect = design_effect(pairs, 0.0, policy.session_s / watch.interval_s)
        allowed = (1.0 + policy.guard_margin) * fixed_upper(base, policy.alpha / 2, effect)
        scale = policy.guard_margin * max(base.rate or 0.0, SMALLEST_RATE)
        at_least = contrast(Pair(new, Counts()), 0.0, scale).lower(policy.alpha / 2, effect)
        if at_least > allowed:
            worse = f"surely above {at_least:.2%}, and {policy.guard_margin:.0%} more than before is at most {allowed:.2%}"
            return "rollback", f"{text}: {worse}"
    if now < guard_ends(watch.subject, policy):
        return "wait", f"{text}: {'not surely worse than before' if enough else _wanted(policy)}"
    why = "not surely worse than before" if enough else "too little to compare, the stated default is to keep it"
    return "keep", f"the guard of {_hours(policy.guard_s)} has ended; {text}: {why}"


def _enough(watch: Watch, policy: CanaryPolicy, counts: Pair) -> bool:
    return min(counts.new.utterances, counts.old.utterances) >= policy.min_utterances and len(watch.intervals) >= FEWEST_BLOCKS


def _wanted(policy: CanaryPolicy) -> str:
    return f"at least {policy.min_utterances} utterances of each and {FEWEST_BLOCKS} looks wanted"


def _describe(watch: Watch, counts: Pair) -> str:
    before = " before" if watch.subject.kind == "guard" else ""
    return f"{_name(watch)} {_rate(counts.new)}, {version_name(watch.subject.against)}{before} {_rate(counts.old)}"


def _rate(counts: Counts) -> str:
    share = f" ({counts.rate:.2%})" if counts.rate is not None else ""
    return f"{counts.errors} errors in {counts.utterances} utterances{share}"


def _name(watch: Watch) -> str:
    return version_name(watch.subject.version)


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f} points"


def _verb(action: str) -> str:
    return "promote it" if action == "promote" else "roll it back"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s"
