"""What must hold of the production alias: every state that it ever had was complete, justified, on record and announced. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from shared import keys
from shared.cycle import MOVES, Status
from shared.registry import CODEC, KEEP_PREVIOUS, Move, Production, events_of
from tests.chaos.books import Books


def the_log_is_whole(books: Books) -> Iterator[str]:
    """The audit log counts from 1 without a gap, names each cause once, and ends as the alias does."""
    production = books.production or Production()
    numbers = [move.seq for move in books.log]
    if numbers != list(range(1, production.seq + 1)):
        yield f"the alias has made {production.seq} moves, the log has {numbers}"
    if production.moves != books.log[len(books.log) - len(production.moves) :]:
        yield "the alias and its log tell of different moves"
    causes = [move.cause for move in books.log]
    yield from (f"{cause} moved the alias {causes.count(cause)} times" for cause in sorted(set(causes)) if causes.count(cause) > 1)


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


def the_alias_is_what_its_log_says(books: Books) -> Iterator[str]:
    """Played again from the beginning, the log leads to the alias; each rollback went to a version that had served and was good."""
    alias = Alias()
    for move in books.log:
        if move.stable_before != alias.stable:
            yield f"move {move.seq} began at v{move.stable_before}, the moves before it lead to v{alias.stable}"
        if move.kind == "rollback" and move.version != alias.canary and move.stable_after not in alias.previous:
            yield f"move {move.seq} rolled back to v{move.stable_after}, which was not in line"
        alias = replayed(alias, move)
        if move.stable_after != alias.stable:
            yield f"move {move.seq} says that v{move.stable_after} served after it, the protocol says v{alias.stable}"
    now = books.production or Production()
    found = Alias(now.stable, now.canary.version if now.canary else None, now.previous, frozenset(now.withdrawn))
    if found != alias:
        yield f"the log leads to {alias}, the alias is {found}"


def every_move_was_justified(books: Books) -> Iterator[str]:
    """A promotion or canary rests on an accepted report and the very manifest that it judged, or on a person's override with a reason."""
    for move in books.log:
        if move.kind not in {"promote", "canary"} or (move.override and move.reason):
            continue
        report, model = books.reports.get(move.version), books.models.get(move.version)
        if report is None or report.document.outcome != "accepted":
            yield f"move {move.seq}: {move.kind} v{move.version} without an accepting report or an override"
        elif (move.report_sha256, move.manifest_sha256) != (report.sha256, model.sha256 if model else None):
            yield f"move {move.seq}: {move.kind} v{move.version} on other evidence than is stored"
        elif report.document.model_manifest_sha256 != move.manifest_sha256 or report.document.base_version != move.stable_before:
            yield f"move {move.seq}: the report of v{move.version} judged another model, or against another champion"


def what_served_was_complete(books: Books) -> Iterator[str]:
    """Every model that ever served is there with all its files, unless it was collected since; each was when the alias came to it."""
    collected = set(books.production.collected) if books.production else set()
    served = {move.version for move in books.log if move.kind in {"promote", "canary"}}
    for version in sorted(served | {move.stable_after for move in books.log if move.stable_after is not None}):
        model = books.models.get(version)
        problem = "it has no manifest" if model is None else model.problem
        if problem and version not in collected:
            yield f"v{version} has served, and {problem}"
    yield from (f"the alias named an incomplete model: {seen.incomplete}" for seen in books.seen if seen.incomplete)


def moves_are_completed_one_by_one(books: Books) -> Iterator[str]:
    """The alias moves by one move a write, and never before the one before it is in the log."""
    logged: set[str] = set()
    last = Production()
    for seen in books.seen:
        logged.add(seen.key)
        if seen.key != keys.PRODUCTION:
            continue
        production = CODEC.parse(seen.data)
        if production.seq != last.seq + 1:
            yield f"the alias went from move {last.seq} to move {production.seq}"
        if last.seq and keys.registry_log(last.seq) not in logged:
            yield f"move {production.seq} was made before move {last.seq} was in the log"
        last = production


_ENDS = {
    "promote": Status.DEPLOYED,
    "canary": Status.CANARY,
    "end_canary": Status.INCONCLUSIVE,
    "rollback": Status.ROLLED_BACK,
    "withdraw": Status.INCONCLUSIVE,
}


def cycles_know_what_became_of_them(books: Books) -> Iterator[str]:
    """The last move about a version is in the state of its cycle, where the table lets it; no cycle is on canary that serves nobody."""
    last = {move.version: move for move in books.log if move.kind in _ENDS}
    on_canary = books.production.canary.version if books.production and books.production.canary else None
    for cycle, state in books.states.items():
        move = last.get(cycle)
        if move is not None and _ENDS[move.kind] in MOVES[state.status]:
            yield f"cycle {cycle} is {state.status}, but the last move about it was {move.kind} ({move.seq})"
        if state.status == Status.CANARY and cycle != on_canary:
            yield f"cycle {cycle} is on canary, and the alias has v{on_canary} there"


def every_move_was_announced(books: Books) -> Iterator[str]:
    """Services were told of every move that changed what serves."""
    for move in books.log:
        if any(event.event_id not in books.outside.announced for event in events_of(move)):
            yield f"nobody was told of move {move.seq} ({move.kind} v{move.version})"


ALIAS_RULES = (
    the_log_is_whole,
    the_alias_is_what_its_log_says,
    every_move_was_justified,
    what_served_was_complete,
    moves_are_completed_one_by_one,
    cycles_know_what_became_of_them,
    every_move_was_announced,
)
