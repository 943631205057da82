"""Watches the canary and the newly promoted version: counts, decides, and asks the deployer. It moves no alias itself."""

from functions.runtime import Ports
from functions.sweeper.verdict import command_of, decide_watch, guard_ends, subjects
from shared import keys, ledger
from shared.alias import find_production
from shared.cas import Decision, apply_with_cas, find
from shared.errors import CorruptObject
from shared.head import FIRST_CYCLE, read_head
from shared.verdict import find_report
from shared.watch import CODEC, Four, Subject, Watch, advance, begin, counts_of

LEDGERS = 4
"""So many newest ledgers can hold what a watched version has served: a cycle may end and another begin meanwhile."""


def watch_versions(ports: Ports) -> list[str]:
    """Look at every watched version once; return what was decided, in words."""
    done = (_watch(ports, subject) for subject in subjects(find_production(ports.store), ports.settings.policy.canary))
    return [text for text in done if text]


def find_watch(ports: Ports, version: int) -> Watch | None:
    """Return what was seen of a version; None where it was never watched."""
    found = find(ports.store, keys.watch(version))
    return CODEC.parse(found.data) if found else None


def _watch(ports: Ports, subject: Subject) -> str:
    policy, now = ports.settings.policy, ports.clock.now()
    known = find_watch(ports, subject.version)
    action = known.verdict.action if known is not None and known.subject == subject else None
    if subject.kind == "guard" and (action == "keep" or (action != "wait" and now >= guard_ends(subject, policy.canary))):
        return ""
    counts = _counts(ports, subject)
    champion = _champion(ports, subject)

    def decide(watch: Watch | None) -> Decision[Watch]:
        if watch is None or watch.subject != subject:
            if watch is not None and watch.subject.since > subject.since:
                return Decision(None, reason="the alias has moved on")
            watch = begin(subject, counts, now)
        looked = advance(watch, counts, now, settle_s=policy.canary.session_s)
        verdict = decide_watch(looked, policy.canary, now, champion=champion, auto_deploy=policy.auto_deploy)
        decided = looked.model_copy(update={"verdict": verdict})
        command = command_of(decided, auto_deploy=policy.auto_deploy)
        return Decision(decided, () if command is None else (command,), f"{verdict.action}: {verdict.reason}")

    decision = apply_with_cas(ports.store, keys.watch(subject.version), CODEC, decide)
    if decision.events:
        with ports.traces.span(f"watch {subject.kind}", subject.version):
            ports.publish_all(decision.events)
    return f"{subject.kind} {decision.reason}" if decision.events else ""


def _counts(ports: Ports, subject: Subject) -> dict[int, Four]:
    head = read_head(ports.store)
    newest = range(max(head - LEDGERS + 1, FIRST_CYCLE), head + 1)
    return {number: counts_of(ledger.count(ports.store, number), subject) for number in newest}


def _champion(ports: Ports, subject: Subject) -> int | None:
    """Return the version that a canary was validated against; None where no report tells."""
    if subject.kind != "canary":
        return None
    try:
        report = find_report(ports.store, subject.version)
    except CorruptObject:
        return None  # the deployer refuses such evidence; what remains to be decided here does not rest on it
    return report.base_version if report is not None else None
