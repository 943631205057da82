"""Forgets a person, a session or an utterance: audio and text leave every object, and the models that learned from them are named.

find      who is meant: utterances by what ledgers, datasets and corpora say of the speaker
refuse    while a running cycle uses their clips
record    which cycles trained with them; the digests that objects will have
remove    what nothing would lead to any more first (caches, audio, quarantine), then what only an utterance's id betrays, and last
          what names the person: so a command that died can be run again
look      again, until nothing is found
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from functions.cycle_trace import OLDEST
from functions.launcher.seal import read_split_key
from functions.runtime import Ports
from functions.states import newest_states
from infra.errors import Refused
from infra.forget import redact
from infra.forget.places import Step, find_steps, taught_in, their_utterances
from infra.forget.redact import Target
from infra.models.stored import complete_versions, load_manifest
from shared import keys
from shared.alias import find_production
from shared.cas import Decision, apply_with_cas, commit, find
from shared.compaction import touch_index
from shared.corpora import Corpus, CorpusClip
from shared.cycle import Status
from shared.documents import Frozen, parse_lines, sha256_hex
from shared.errors import Conflict, NotFound, Retryable
from shared.forgotten import CODEC, ForgetRun, Forgotten, Kind, Redaction, record_redaction
from shared.ids import version_name
from shared.suites import Change, write_suite
from shared.totals import TOTALS
from shared.verdict import parse_report

PASSES = 5
BUSY: Final = frozenset({Status.PREPARING, Status.WAITING_FOR_CAPACITY, Status.TRAINING, Status.INTERRUPTED, Status.VALIDATING})
NOT_OURS = (
    "Not touched: the recordings at their own addresses (listed), dead letters (`retune dlq list`), spools of services that are cut off. "
    "Cloud Storage keeps replaced and deleted objects for as long as the bucket's versioning and soft-delete policies say. "
    "Events about them that are still to come are collected again: stop them at their source, and run this once more."
)


class TaughtModel(Frozen):
    """A model that may have learned from them.

    Attributes:
        cycles: in which their clips were in train or dev.
    """

    version: int
    live: bool
    cycles: tuple[int, ...]


class ForgetReport(Frozen):
    """What was done, or what would be.

    Attributes:
        removed: items by place.
        objects: how many objects were rewritten or deleted.
        models: that learned from them, by what any run has found.
        addresses: of recordings that are not ours to delete.
        earlier_runs: that removed something.
    """

    kind: Kind
    dry_run: bool
    removed: dict[str, int]
    objects: int
    models: tuple[TaughtModel, ...]
    addresses: tuple[str, ...]
    earlier_runs: int
    notes: tuple[str, ...] = (NOT_OURS,)


def forget(ports: Ports, kind: Kind, identity: str, *, by: str, dry_run: bool = False) -> ForgetReport:
    """Forget everything of a speaker, a session or an utterance; safe to repeat, at any time and after any crash.

    Args:
        ports: the outside world; the command needs to write in every folder.
        kind: what `identity` names.
        identity: as production names it.
        by: who asks, as they claim.
        dry_run: only say what would be done.

    Raises:
        Refused: a running cycle uses their clips.
        Retryable: others kept writing about them.
    """
    target = Target.of(kind, identity, read_split_key(ports))
    before = _record(ports, target)
    removed: Counter[str] = Counter()
    addresses: set[str] = set()
    cycles = set(before.cycles)
    objects = 0
    for _ in range(PASSES):
        target = target.with_utterances(their_utterances(ports.store, target))
        steps = find_steps(ports.store, target)
        _refuse_running(ports, steps, changed=objects > 0)
        cycles |= taught_in(steps)
        addresses |= {address for step in steps for address in redact.addresses_of(step.theirs)}
        if dry_run or not steps:
            removed.update(_count(steps))
            break
        _remember(ports, target, cycles, ForgetRun(at=ports.clock.now(), by=by, removed=dict(_count(steps))))
        done = [step for step in steps if _apply(ports, step, by)]
        _disturb_compactors(ports, done)
        removed.update(_count(done))
        objects += len(done)
    else:
        raise Retryable(f"{kind}: others keep writing about them; what was found was removed: run the command again")
    return ForgetReport(
        kind=kind,
        dry_run=dry_run,
        removed=dict(sorted(removed.items())),
        objects=len(steps) if dry_run else objects,
        models=tuple(_taught_models(ports, cycles)),
        addresses=tuple(sorted(address for address in addresses if not address.startswith(f"{ports.store.uri}/{keys.AUDIO}"))),
        earlier_runs=len(before.runs),
    )


def _count(steps: Sequence[Step]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for step in steps:
        counted[step.place] += step.items
    return counted


def _refuse_running(ports: Ports, steps: Sequence[Step], *, changed: bool) -> None:
    """Refuse while a cycle reads what would change: it would fail on digests, or teach a model what is to be forgotten.

    A cycle without a spec may hold in memory what it read before: it counts also when nothing is left to find, but something was `changed`.
    """
    for state in newest_states(ports):
        if state.status not in BUSY:
            continue
        own = tuple(f"{folder}/{keys.padded(state.cycle)}/" for folder in ("ledger", "cycles", "runs", "verdicts"))
        unsealed = find(ports.store, keys.spec(state.cycle)) is None
        used = [step for step in steps if unsealed or step.key.startswith(own)]
        if used or (unsealed and changed):
            raise Refused(
                f"cycle {state.cycle} is {state.status} and uses what is to be forgotten ({len(used)} objects): "
                f"wait until it has ended, or run `retune cancel {state.cycle}`, and run this again"
            )


def _apply(ports: Ports, step: Step, by: str) -> bool:
    """Change one object on the generation that was read; False = somebody else was faster, the next look finds it."""
    store, info = ports.store, step.found.info
    try:
        if step.data is None:
            store.delete(step.key, if_generation_match=info.generation)
        elif step.place == "suite":
            _rewrite_suite(ports, step, by)
        else:
            if step.place == "report":
                _write_page(ports, step.key, step.data)
            _say_digest(ports, step)
            commit(
                store,
                step.key,
                step.data,
                if_generation_match=info.generation,
                metadata={name: value for name, value in info.metadata.items() if name in {TOTALS, OLDEST}},
                content_type=info.content_type,
            )
    except (Conflict, NotFound):
        return False
    return True


def _write_page(ports: Ports, key: str, report: bytes) -> None:
    from functions.validator.report import render_html  # brings numpy: not for every command

    page = render_html(parse_report(report)).encode()
    ports.store.put(keys.report_html(keys.cycle_of(key)), page, content_type="text/html; charset=utf-8")


def _say_digest(ports: Ports, step: Step) -> None:
    old, new = sha256_hex(step.found.data), sha256_hex(step.data or b"")
    record_redaction(ports.store, Redaction(key=step.key, old_sha256=old, new_sha256=new))


def _rewrite_suite(ports: Ports, step: Step, by: str) -> None:
    name = step.key.split("/")[2]
    read = Corpus(sha256=sha256_hex(step.found.data), generation=step.found.info.generation)
    clips = parse_lines(CorpusClip, step.data or b"", what=step.key)
    change = f"{len(step.theirs)} clips were forgotten at a person's wish"
    write_suite(ports.store, name, Change(clips, read, change, by, force=True), ports.clock.now())


def _disturb_compactors(ports: Ports, done: Sequence[Step]) -> None:
    """Have a compactor that read a segment before it was emptied lose its write: its part would bring the text back."""
    for cycle in {keys.cycle_of(step.key) for step in done if step.place == "ledger"}:
        with suppress(Conflict):  # it was faster: the next look finds its part
            touch_index(ports.store, cycle)


def _taught_models(ports: Ports, cycles: set[int]) -> Iterator[TaughtModel]:
    production = find_production(ports.store)
    live = {production.stable, production.canary.version if production.canary else None} if production else set()
    for version in complete_versions(ports.store):
        learned = sorted(cycles & set(load_manifest(ports.store, version).learned))
        if learned:
            yield TaughtModel(version=version, live=version in live, cycles=tuple(learned))


def _record(ports: Ports, target: Target) -> Forgotten:
    found = find(ports.store, keys.forgotten(target.token))
    return CODEC.parse(found.data) if found else Forgotten(kind=target.kind, token=target.token)


def _remember(ports: Ports, target: Target, cycles: set[int], run: ForgetRun) -> None:
    """Keep what will be done and which cycles they taught, before the clips that tell are gone."""

    def decide(record: Forgotten | None) -> Decision[Forgotten]:
        known = record or Forgotten(kind=target.kind, token=target.token)
        return Decision(known.model_copy(update={"cycles": tuple(sorted(cycles | set(known.cycles))), "runs": (*known.runs, run)}))

    apply_with_cas(ports.store, keys.forgotten(target.token), CODEC, decide)


def render(report: ForgetReport) -> str:
    """Return a text for people."""
    verb = "would remove" if report.dry_run else "removed"
    lines = [f"{verb} {count} from: {place}" for place, count in report.removed.items()]
    if not lines:
        earlier = f" (earlier runs removed what there was: {report.earlier_runs})" if report.earlier_runs else ""
        lines = [f"nothing of this {report.kind} is stored{earlier}"]
    for model in report.models:
        cycles = ", ".join(map(str, model.cycles))
        serving = ", which serves now" if model.live else ""
        lines.append(
            f"trained on them: {version_name(model.version)}{serving} (cycle {cycles}); a model cannot forget: withdraw it, or train anew"
        )
    lines.extend(f"recording to delete where it lies: {address}" for address in report.addresses)
    return "\n".join([*lines, *report.notes])
