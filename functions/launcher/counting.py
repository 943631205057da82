"""What `decide_trigger` looks at, read exactly: the de-duplicated count, the holdout to come, and what earlier cycles cost and measured."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from functions.launcher.seal import Lineage, awaiting_gold, draft, read_history, read_lineage, read_split_key
from functions.launcher.spending import read_costs
from functions.launcher.window import read_window
from functions.runtime import Ports
from shared import keys, ledger
from shared.cas import find
from shared.cycle import CycleState
from shared.dataset import Row, judging_stratum, newest_in_use
from shared.placement import as_member, estimated_rate, fit_to_judge, splits_of_rows
from shared.policy import Evidence, Policy, TriggerDecision, decide_trigger
from shared.sizing import Measured
from shared.splits import History, Split, audio_digest
from shared.training import Clip, parse_lines
from shared.verdict import SetNumbers, ValidationReport, parse_report
from shared.wer_power import Holdout, weights_effect

MEASURED_CYCLES = 10
"""Spreads of so many newest verdicts are looked at."""
LOOK_BACK = 100
"""They are looked for among so many newest cycles: where hardly one comes to a verdict, not in all that there ever were."""


def exact_trigger(ports: Ports, cycle: int, states: list[CycleState], *, forced: bool) -> TriggerDecision:
    """Decide on the exact, de-duplicated count; writes nothing."""
    events = ledger.read_events(ports.store, cycle)
    window = read_window(ports, cycle)
    rows = draft(ports, window, events)
    counted = {row.event_id for row in rows if _counts(row)}
    totals = ledger.count_events(event for event in events if event.event_id in counted)
    lineage = read_lineage(ports)
    history = read_history(ports, window)
    placed = _foreseen(ports, rows, history)
    evidence = Evidence(
        totals=totals,
        stable=lineage.stable,
        trainable=_trainable(ports, rows, placed, lineage),
        speakers=len({row.speaker for row in rows if row.kind == "error" and row.speaker is not None}),
        audio=different_recordings(rows),
        costs=read_costs(ports, cycle),
        holdout=_next_holdout(ports, rows, placed, history),
        measured=read_measured(ports, cycle, lineage.stable),
    )
    return decide_trigger(evidence, ports.settings.policy, states, ports.clock.now(), forced=forced)


def _counts(row: Row) -> bool:
    """Tell whether a row's event counts: a correction that was joined to its utterance does, though nothing waits for it any more."""
    return row.origin == "fresh" and (row.set_aside is None or row.kind == "correction")


def _foreseen(ports: Ports, rows: Sequence[Row], history: History) -> dict[str, frozenset[Split]]:
    """Return for each usable row the split that a seal will give it; none = to be known with its audio, several = to be set aside."""
    usable = [row for row in rows if row.kind in {"error", "sample"} and row.set_aside is None]
    return splits_of_rows(usable, rows, read_split_key(ports), ports.settings.policy, history)


def _trainable(ports: Ports, rows: Sequence[Row], placed: dict[str, frozenset[Split]], lineage: Lineage) -> int:
    """Count the errors that will train; one of which neither speaker nor session is known is counted until its audio is.

    An error needs a reference, or somebody to ask for one: what the trainer's gold comes to, nobody can know before.
    """
    errors = [row for row in rows if row.kind == "error" and row.set_aside is None]
    askable = awaiting_gold(ports, [row for row in errors if row.reference is None], lineage.learned)
    good = [*(row for row in errors if row.reference is not None), *askable]
    return sum(placed[row.event_id] <= {"train"} for row in good)


def different_recordings(rows: Iterable[Row]) -> int:
    """Count the recordings among the errors: by digest where the audio is known, else by address, of which one may be the other."""
    errors = [row for row in rows if row.kind == "error" and row.set_aside is None and row.audio_uri is not None]
    digests = {row.audio_uri: audio_digest(row.audio) for row in errors if row.audio is not None}
    return len({digests.get(row.audio_uri, row.audio_uri) for row in errors})


def _next_holdout(ports: Ports, rows: Sequence[Row], placed: dict[str, frozenset[Split]], history: History) -> Holdout:
    """Return the holdout that the next cycle is expected to be judged on.

    Nobody knows it before the seal. It is what has accumulated in `corpora/holdout/` and may still judge, and of the rows that the seal
    would take now: those whose speaker, session or utterance is held out, and the holdout's share of those of which none is known. What
    datasets that never came to a spec will add is not counted.
    """
    policy = ports.settings.policy
    split_key = read_split_key(ports)
    written = [info.key for info in ports.store.list(keys.HOLDOUT) if info.size_bytes]
    batches = (parse_lines(Clip, ports.store.get(key).data, what=key) for key in sorted(written, reverse=True))
    clips = newest_in_use((fit_to_judge(batch, split_key, history) for batch in batches), policy.holdout_cap)
    present = {item.utterance_id for item in clips}
    clusters = {item.cluster for item in clips}
    weights = Counter(item.weight for item in clips)
    unknown = 0
    for row, weight in _joining(rows, policy):
        splits = placed[row.event_id]
        if not splits:
            unknown += 1
        elif splits == {"holdout"} and row.utterance_id not in present:
            present.add(row.utterance_id or "")
            clusters.add(as_member(row, split_key).cluster or row.event_id)
            weights[weight] += 1
    expected = round(unknown * policy.holdout_share)
    utterances = min(len(present) + expected, policy.holdout_cap)
    return Holdout(utterances, min(len(clusters) + expected, utterances), weights_effect(weights))


def _joining(rows: Sequence[Row], policy: Policy) -> Iterable[tuple[Row, float]]:
    """Yield the rows that can judge if they are held out, with their weights."""
    reported = {row.utterance_id for row in rows if row.kind == "error"}
    rate = estimated_rate(rows)
    for row in rows:
        weight = row.weight or (1.0 / rate if rate else None)
        weighed = row.model_copy(update={"weight": weight})
        stratum = judging_stratum(weighed, reported, judge_on_llm_gold=policy.judge_on_llm_gold)
        if row.set_aside is None and weight is not None and stratum is not None:
            yield row, weight


def read_measured(ports: Ports, before: int, stable: int | None) -> tuple[Measured, ...]:
    """Return what the verdicts of the newest cycles measured on their holdouts, newest first."""
    oldest = max(before - LOOK_BACK, ledger.FIRST_CYCLE)
    found = (find(ports.store, keys.report(number)) for number in range(before - 1, oldest - 1, -1))
    newest = islice((stored for stored in found if stored is not None), MEASURED_CYCLES)
    return tuple(seen for stored in newest for seen in _measured(parse_report(stored.data), stable))


def _measured(report: ValidationReport, stable: int | None) -> Iterable[Measured]:
    """Yield the measurement of a report's deciding comparison, if it permitted one."""
    numbers: SetNumbers | None = next((each for each in report.sets if each.name == keys.HOLDOUT_SET and each.decides), None)
    if numbers is None or numbers.sd_d is None:
        return
    wer = (numbers.candidate if report.version == stable else numbers.base).wer
    if wer is not None:
        yield Measured(sd_d=numbers.sd_d, utterances=numbers.utterances, clusters=numbers.clusters, wer=wer.estimate)
