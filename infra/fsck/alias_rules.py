"""What must hold of the production alias: every state that it ever had was complete, justified and on record. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from infra.fsck.books import Books, Model, Problem, Stored
from shared import keys
from shared.cycle import MOVES, Status
from shared.registry import KEEP_PREVIOUS, Move, Production
from shared.verdict import ValidationReport


def the_alias_is_there(books: Books) -> Iterator[Problem]:
    """Where a move is on record there is an alias that made it."""
    if keys.PRODUCTION not in books.keys and books.log:
        yield Problem(keys.PRODUCTION, f"the alias after move {books.log[-1].seq} or a later one", "none")


def the_log_is_whole(books: Books) -> Iterator[Problem]:
    """The audit log counts from 1 without a gap, names each cause once, and ends as the alias does."""
    production = books.production or Production()
    numbers = [move.seq for move in books.log]
    if numbers != list(range(1, production.seq + 1)):
        yield Problem(keys.REGISTRY_LOG, f"the {production.seq} moves that the alias has made", _ranges(numbers))
    logged = {move.seq: move for move in books.log}
    for move in production.moves:
        if move.seq in logged and logged[move.seq] != move:
            yield Problem(keys.registry_log(move.seq), "the move that the alias tells of", f"{logged[move.seq].kind} v{move.version}")
    if len({move.seq for move in production.moves}) != len(production.moves) or (production.seq and not production.moves):
        yield Problem(keys.PRODUCTION, "its last moves, each once", f"{[move.seq for move in production.moves]}")
    causes = Counter(move.cause for move in books.log)
    yield from (Problem(keys.REGISTRY_LOG, f"one move by {cause}", str(times)) for cause, times in sorted(causes.items()) if times > 1)


def _ranges(numbers: Sequence[int]) -> str:
    if not numbers:
        return "none"
    missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
    return f"{len(numbers)} up to move {max(numbers)}" + (f"; missing: {missing}" if missing else "")


@dataclass(frozen=True)
class Alias:
    """What the log alone says that serves."""

    stable: int | None = None
    canary: int | None = None
    previous: tuple[int, ...] = ()
    withdrawn: frozenset[int] = frozenset()


def replayed(alias: Alias, move: Move) -> Alias:
    """Return the alias after a move, by the words of the protocol: nothing that is withdrawn stands in line."""
    after = _moved(alias, move)
    return replace(after, previous=tuple(item for item in after.previous if item not in after.withdrawn))


def _moved(alias: Alias, move: Move) -> Alias:
    version = move.version
    gone = alias.withdrawn | {version}
    if move.kind == "promote":
        line = tuple(item for item in (alias.stable, *alias.previous) if item not in {None, version})
        canary = None if alias.canary == version else alias.canary
        return Alias(version, canary, tuple(item for item in line if item is not None)[:KEEP_PREVIOUS], alias.withdrawn - {version})
    if move.kind == "canary":
        return replace(alias, canary=version)
    if move.kind == "end_canary":
        return replace(alias, canary=None)
    if move.kind == "rollback" and version == alias.canary:
        return replace(alias, canary=None, withdrawn=gone)
    if move.kind == "rollback":
        line = alias.previous
        behind = line[line.index(move.stable_after) + 1 :] if move.stable_after in line else ()
        canary = None if alias.canary == move.stable_after else alias.canary
        return Alias(move.stable_after, canary, behind, gone)
    return replace(alias, withdrawn=gone) if move.kind == "withdraw" else alias


def the_alias_is_what_its_log_says(books: Books) -> Iterator[Problem]:
    """Played again from the beginning, the log leads to the alias; each rollback went to a version that had served and was good."""
    alias = Alias()
    for move in books.log:
        if move.stable_before != alias.stable:
            yield Problem(_key(move), f"to begin at v{alias.stable}, where the moves before lead", f"v{move.stable_before}")
        if move.kind == "rollback" and move.version != alias.canary and move.stable_after not in alias.previous:
            yield Problem(_key(move), f"a rollback to one of {_names(alias.previous)}", f"v{move.stable_after}")
        alias = replayed(alias, move)
        if move.stable_after != alias.stable:
            yield Problem(_key(move), f"v{alias.stable} to serve afterwards", f"v{move.stable_after}")
    now = books.production or Production()
    found = Alias(now.stable, now.canary.version if now.canary else None, now.previous, frozenset(now.withdrawn))
    if found != alias:
        yield Problem(keys.PRODUCTION, f"{_said(alias)}, where its log leads", _said(found))


def _said(alias: Alias) -> str:
    canary = "none" if alias.canary is None else f"v{alias.canary}"
    return f"stable v{alias.stable}, canary {canary}, previous {_names(alias.previous)}, withdrawn {_names(sorted(alias.withdrawn))}"


def _names(versions: Sequence[int]) -> str:
    return ", ".join(f"v{version}" for version in versions) or "none"


def _key(move: Move) -> str:
    return keys.registry_log(move.seq)


def every_move_was_justified(books: Books) -> Iterator[Problem]:
    """A promotion or canary rests on an accepted report and the very manifest that it judged, or on a person's override with a reason."""
    for move in books.log:
        if move.kind not in {"promote", "canary"} or (move.override and move.reason):
            continue
        report, model = books.reports.get(move.version), books.models.get(move.version)
        if report is None or report.document.outcome != "accepted":
            found = "no report" if report is None else f"a report that says {report.document.outcome}"
            yield Problem(_key(move), f"an accepting report of v{move.version}, or an override with a reason", found)
        elif model is None or not _same_evidence(books, move, report, model):
            yield Problem(_key(move), f"{move.kind} v{move.version} on the report and manifest that are stored", "other digests")
        elif report.document.model_manifest_sha256 != move.manifest_sha256 or report.document.base_version != move.stable_before:
            judged = f"a report against v{report.document.base_version} of manifest {report.document.model_manifest_sha256[:12]}"
            yield Problem(_key(move), f"a report on this model against v{move.stable_before}", judged)


def _same_evidence(books: Books, move: Move, report: Stored[ValidationReport], model: Model) -> bool:
    same_report = move.report_sha256 is not None and books.became(keys.report(move.version), move.report_sha256, report.sha256)
    return same_report and move.manifest_sha256 == model.sha256


def what_serves_is_complete(books: Books) -> Iterator[Problem]:
    """Every model that ever served, or that the alias names, is there with all its files, unless it was collected since."""
    for version in sorted(_served(books)):
        model = books.models.get(version)
        problem = "it has no manifest" if model is None else model.problem
        if problem:
            yield Problem(keys.manifest(version), f"every file of v{version}, which serves or has served", problem)


def _served(books: Books) -> set[int]:
    now = books.production or Production()
    named = {now.stable, now.canary.version if now.canary else None, *now.previous, *now.pinned}
    served = {move.version for move in books.log if move.kind in {"promote", "canary"}} | {move.stable_after for move in books.log}
    return {version for version in named | served if version is not None and version not in now.collected}


def models_are_whole(books: Books) -> Iterator[Problem]:
    """Every other model that was not collected is what its manifest says as well."""
    collected = books.production.collected if books.production else ()
    for version, model in books.models.items():
        if model.problem and version not in {*_served(books), *collected}:
            yield Problem(keys.manifest(version), f"every file of v{version} as named", model.problem)


_ENDS = {
    "promote": Status.DEPLOYED,
    "canary": Status.CANARY,
    "end_canary": Status.INCONCLUSIVE,
    "rollback": Status.ROLLED_BACK,
    "withdraw": Status.INCONCLUSIVE,
}


_MOVED = frozenset({Status.CANARY, Status.DEPLOYED, Status.ROLLED_BACK})


def cycles_know_what_became_of_them(books: Books) -> Iterator[Problem]:
    """The last move about a version is in the state of its cycle, where the table lets it; no cycle is on canary that serves nobody."""
    last = {move.version: move for move in books.log if move.kind in _ENDS}
    on_canary = books.production.canary.version if books.production and books.production.canary else None
    for cycle, state in books.states.items():
        move = last.get(cycle)
        if move is None and state.status in _MOVED:
            yield Problem(keys.REGISTRY_LOG, f"a move that made cycle {cycle} {state.status}", "none")
        if move is not None and _ENDS[move.kind] in MOVES[state.status]:
            yield Problem(keys.state(cycle), f"{_ENDS[move.kind]}, after move {move.seq} ({move.kind})", str(state.status))
        if state.status == Status.CANARY and cycle != on_canary:
            there = "nothing" if on_canary is None else f"v{on_canary}"
            yield Problem(keys.state(cycle), f"to be on canary as v{cycle} is in {keys.PRODUCTION}", f"{there} on canary")
