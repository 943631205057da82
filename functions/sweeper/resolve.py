"""Keeps what a version fixed: cases for later cycles, and word to production which errors it resolves.

corpora/suites/fixed/, corpora/memory/    the cases; a case that is there already is not added again
ErrorsResolved                            the same events each time
corpora/resolved/n.json                   last: whoever dies before it is followed by the next tick, which does it all again
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from functions.launcher.seal import read_split_key
from functions.launcher.window import find_dataset
from functions.runtime import Ports
from functions.sweeper.verdict import guard_ends, subjects
from shared import keys
from shared.alias import find_production
from shared.cas import create, find, get_document
from shared.cases import Closed, Resolved, case_of, resolved_events, with_cases
from shared.corpora import CorpusClip, load_corpus, replace_corpus
from shared.cycle import CODEC as STATES
from shared.cycle import Status
from shared.dataset import Row
from shared.documents import document_bytes, parse_lines
from shared.head import FIRST_CYCLE
from shared.ids import version_name
from shared.log import log
from shared.manifest import ModelManifest
from shared.policy import CanaryPolicy
from shared.registry import Production
from shared.suites import Change, write_suite
from shared.training import Clip, TrainingSpec

BY = "sweeper"


def settled(production: Production | None, policy: CanaryPolicy, now: datetime) -> int | None:
    """Return the stable version once its guard window has ended: before that nothing is sure. Pure."""
    if production is None or production.stable is None:
        return None
    guards = [subject for subject in subjects(production, policy) if subject.kind == "guard"]
    return None if any(now < guard_ends(guard, policy) for guard in guards) else production.stable


def resolve_errors(ports: Ports) -> list[str]:
    """Keep and report what the stable version and those before it fixed, once; return what was done, in words."""
    stable = settled(find_production(ports.store), ports.settings.policy.canary, ports.clock.now())
    if stable is None or find(ports.store, keys.resolved(stable)) is not None:
        return []
    manifest = get_document(ports.store, keys.manifest(stable), ModelManifest)
    # A version that was followed before its own guard ended has not been looked at yet. The stable one comes last: it stands for all.
    done = {info.key for info in ports.store.list(keys.RESOLVED)}
    versions = [version for version in manifest.learned if version != stable and keys.resolved(version) not in done]
    return [text for version in (*versions, stable) if (text := _resolve(ports, version))]


def _resolve(ports: Ports, version: int) -> str:
    closed = _closed(ports, version)
    held_out = _cases(ports, version, keys.HOLDOUT_SET, {item.utterance_id for item in closed if not item.learned})
    learned = _cases(ports, version, keys.LEARNING_SET, {item.utterance_id for item in closed if item.learned})
    _keep_fixed(ports, version, held_out)
    memory = load_corpus(ports.store, keys.MEMORY)
    if learned and (cases := with_cases(memory.clips, learned)) != memory.clips:
        replace_corpus(ports.store, keys.MEMORY, cases, memory.generation)
    if closed:
        ports.publish_all(resolved_events(version, closed, _deployed_at(ports, version)))
    done = Resolved(version=version, at=ports.clock.now(), held_out=len(held_out), learned=len(learned))
    create(ports.store, keys.resolved(version), document_bytes(done))
    return f"{version_name(version)} resolves {len(closed)} errors" if closed else ""


def _closed(ports: Ports, version: int) -> list[Closed]:
    """Return the errors that a version fixed; none for one that was never judged."""
    found = find(ports.store, keys.closure(version))
    lines = parse_lines(Closed, found.data, what=found.info.key) if found else []
    return [item for item in lines if item.resolved_by == version]


def _deployed_at(ports: Ports, version: int) -> datetime:
    """Return when the version became stable, as its cycle tells: the same whenever somebody asks."""
    state = STATES.parse(ports.store.get(keys.state(version)).data)
    return next(step.at for step in reversed(state.history) if step.status == Status.DEPLOYED)


def _keep_fixed(ports: Ports, version: int, cases: Sequence[CorpusClip]) -> None:
    present = load_corpus(ports.store, keys.suite(keys.FIXED_SUITE))
    clips = with_cases(present.clips, cases)
    if clips == present.clips:
        return
    change = Change(clips, present, f"errors that {version_name(version)} fixed", BY)
    if not write_suite(ports.store, keys.FIXED_SUITE, change, ports.clock.now()):
        log(f"suite {keys.FIXED_SUITE} is frozen: what {version_name(version)} fixed is not added", severity="WARNING")


def _cases(ports: Ports, version: int, set_name: str, wanted: set[str]) -> list[CorpusClip]:
    """Return the fixed clips of one of the cycle's sets, under their speakers' names."""
    if not wanted:
        return []
    spec = get_document(ports.store, keys.spec(version), TrainingSpec)
    ref = next(clip_set.ref for clip_set in spec.sets if clip_set.name == set_name)
    clips = [item for item in parse_lines(Clip, ports.store.get(ref.key).data, what=ref.key) if item.utterance_id in wanted]
    split_key = read_split_key(ports)
    rows = _rows(ports, version, {item.utterance_id for item in clips})
    cases = [(item, case_of(item, rows[item.utterance_id], split_key)) for item in clips]
    for item, case in cases:
        if case is None:
            log("a fixed error is no case: no dataset tells whose it is", severity="WARNING", utterance_id=item.utterance_id)
    return [case for _, case in cases if case is not None]


def _rows(ports: Ports, version: int, wanted: set[str]) -> dict[str, list[Row]]:
    """Return what datasets tell of some utterances, the newest first; older datasets are read while some are missing."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for sealed in _datasets(ports, version):
        for row in sealed:
            if row.utterance_id in wanted and row.kind in {"error", "sample"}:
                rows[row.utterance_id].append(row)
        if rows.keys() >= wanted:
            break
    return rows


def _datasets(ports: Ports, version: int) -> Iterator[Iterable[Row]]:
    for cycle in range(version, FIRST_CYCLE - 1, -1):
        sealed = find_dataset(ports, cycle)
        if sealed is not None:
            yield sealed.rows
