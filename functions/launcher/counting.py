"""What `decide_trigger` looks at, read exactly: the de-duplicated count, the holdout to come, and what earlier cycles cost and measured."""

from array import array
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from itertools import islice

from functions.launcher.drafting import Draft, draft
from functions.launcher.lineage import askable, read_lineage
from functions.launcher.past import clips_in_use, read_past
from functions.launcher.scatter import distinct
from functions.launcher.seal import read_split_key
from functions.launcher.spending import read_costs
from functions.launcher.window import read_window
from functions.runtime import Ports
from shared import keys
from shared.cycle import CycleState
from shared.dataset import Row
from shared.documents import parse_lines
from shared.head import FIRST_CYCLE
from shared.holdout import judging_stratum, reported_again
from shared.placement import as_member, tells
from shared.policy import Evidence, Policy, TriggerDecision, decide_trigger
from shared.sizing import Measured
from shared.splits import Split
from shared.training import Clip
from shared.verdict import SetNumbers, ValidationReport, find_report
from shared.wer_power import Holdout, weights_effect

MEASURED_CYCLES = 10
"""Spreads of so many newest verdicts are looked at."""
LOOK_BACK = 100
"""They are looked for among so many newest cycles: where hardly one comes to a verdict, not in all that there ever were."""


def exact_trigger(ports: Ports, cycle: int, states: list[CycleState], *, forced: bool) -> TriggerDecision:
    """Decide on the exact, de-duplicated count; writes nothing but what is kept of former cycles."""
    window = read_window(ports, cycle)
    lineage = read_lineage(ports)
    split_key = read_split_key(ports)
    drafted = draft(ports, window, lineage.learned)
    past = read_past(ports, window, split_key)
    foreseen = _Foreseen(ports.settings.policy, split_key, drafted, askable(ports, lineage.learned))
    foreseen.count(past.places(drafted.rows, _usable))
    written = [info.key for info in ports.store.list(keys.HOLDOUT) if info.size_bytes]
    batches = (parse_lines(Clip, ports.store.get(key).data, what=key) for key in sorted(written, reverse=True))
    evidence = Evidence(
        totals=drafted.counted,
        stable=lineage.stable,
        trainable=foreseen.trainable,
        speakers=foreseen.speakers,
        audio=drafted.recordings,
        costs=read_costs(ports, cycle),
        holdout=foreseen.holdout(clips_in_use(batches, past, ports.settings.policy.holdout_cap)),
        measured=read_measured(ports, cycle, lineage.stable),
    )
    return decide_trigger(evidence, ports.settings.policy, states, ports.clock.now(), forced=forced)


def _usable(row: Row) -> bool:
    """Tell whether a seal will give a row a split, as far as is known before its audio is."""
    return tells(row) and row.set_aside is None


class _Foreseen:
    """What a seal is expected to make of drafted rows.

    Args:
        policy: shares of the splits.
        split_key: key of the speaker hash.
        drafted: the rows.
        askable: tells whether gold may be made for an error without a reference.

    Attributes:
        trainable: errors that will train; one of which neither speaker nor session is known is counted until its audio is. An error needs
            a reference, or somebody to ask for one: what the trainer's gold comes to, nobody can know before.
        speakers: among the errors.
    """

    def __init__(self, policy: Policy, split_key: bytes, drafted: Draft, askable: Callable[[Row], bool]) -> None:
        self.trainable = 0
        self.speakers = 0
        self._policy = policy
        self._split_key = split_key
        self._drafted = drafted
        self._askable = askable
        self._judging: dict[str | None, tuple[str, float]] = {}
        self._unplaced = 0

    def count(self, places: Iterable[frozenset[Split]]) -> None:
        """Count the rows.

        Args:
            places: the split that a seal will give to each usable row; none = to be known with its audio, several = to be set aside.
        """
        speakers = array("q")
        reported = reported_again(self._drafted.rows, lambda row: row.kind == "sample")
        for row, splits in zip(self._drafted.rows, places, strict=True):
            if row.kind == "error" and row.speaker is not None:
                speakers.append(hash(row.speaker))
            if not _usable(row):
                continue
            good = row.kind == "error" and (row.reference is not None or self._askable(row))
            self.trainable += good and splits <= {"train"}
            weight = self._weight(row, reported)
            if weight is not None and not splits:
                self._unplaced += 1
            elif weight is not None and splits == {"holdout"}:
                self._judging.setdefault(row.utterance_id, (as_member(row, self._split_key).cluster or row.event_id, weight))
        self.speakers = distinct(speakers)

    def _weight(self, row: Row, reported: Container[str | None]) -> float | None:
        """Return the weight of a row that can judge if it is held out; None = it cannot."""
        rate = self._drafted.traffic.rate
        weight = row.weight or (1.0 / rate if rate else None)
        weighed = row.model_copy(update={"weight": weight})
        stratum = judging_stratum(weighed, reported, judge_on_llm_gold=self._policy.judge_on_llm_gold)
        return weight if stratum is not None else None

    def holdout(self, in_use: Sequence[Clip]) -> Holdout:
        """Return the holdout that the next cycle is expected to be judged on.

        Nobody knows it before the seal. It is what has accumulated in `corpora/holdout/` and may still judge, and of the rows that the
        seal would take now: those whose speaker, session or utterance is held out, and the holdout's share of those of which none is
        known. What datasets that never came to a spec will add is not counted.

        Args:
            in_use: what may still judge of the holdout that was written.
        """
        present = {item.utterance_id for item in in_use}
        joining = [judging for utterance, judging in self._judging.items() if utterance not in present]
        clusters = {item.cluster for item in in_use}.union(cluster for cluster, _ in joining)
        weights = Counter([*(item.weight for item in in_use), *(weight for _, weight in joining)])
        expected = round(self._unplaced * self._policy.holdout_share)
        utterances = min(len(present) + len(joining) + expected, self._policy.holdout_cap)
        return Holdout(utterances, min(len(clusters) + expected, utterances), weights_effect(weights))


def read_measured(ports: Ports, before: int, stable: int | None) -> tuple[Measured, ...]:
    """Return what the verdicts of the newest cycles measured on their holdouts, newest first."""
    oldest = max(before - LOOK_BACK, FIRST_CYCLE)
    found = (find_report(ports.store, number) for number in range(before - 1, oldest - 1, -1))
    newest = islice((report for report in found if report is not None), MEASURED_CYCLES)
    return tuple(seen for report in newest for seen in _measured(report, stable))


def _measured(report: ValidationReport, stable: int | None) -> Iterable[Measured]:
    """Yield the measurement of a report's deciding comparison, if it permitted one."""
    numbers: SetNumbers | None = next((each for each in report.sets if each.name == keys.HOLDOUT_SET and each.decides), None)
    if numbers is None or numbers.sd_d is None:
        return
    wer = (numbers.candidate if report.version == stable else numbers.base).wer
    if wer is not None:
        yield Measured(sd_d=numbers.sd_d, utterances=numbers.utterances, clusters=numbers.clusters, wer=wer.estimate)
