"""The production alias: one object, moved by compare-and-swap; the pure moves and what completes them.

`registry/production.json` is the truth. Before any new move the deployer completes the last one: the cycle's state,
then `registry/log/<seq>.json`, then the event.
"""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from shared.cas import Codec, Decision
from shared.cycle import Status
from shared.events import CanaryStarted, ModelDeployed, ModelRolledBack, RegistryEvent
from shared.frozen import Frozen
from shared.ids import derived_event_id, version_name
from shared.training import document_bytes, parse_document

KEEP_MOVES = timedelta(days=31)
KEEP_PREVIOUS = 20

MoveKind = Literal["promote", "canary", "rollback"]


class Canary(Frozen):
    """A version that serves a share of the sessions; with 0 percent it is in shadow: it transcribes beside, and serves nobody."""

    version: Annotated[int, Field(ge=0)]
    percent: Annotated[int, Field(ge=0, le=99)]
    since: AwareDatetime


class Move(Frozen):
    """One move of the alias.

    Attributes:
        version: the version that was promoted, put on canary, or withdrawn.
        stable_before, stable_after: what the alias named.
        override: a person promoted it against, or without, the evidence. Stays for ever in the audit log.
    """

    seq: Annotated[int, Field(ge=1)]
    cause: str
    kind: MoveKind
    version: int
    stable_before: int | None
    stable_after: int | None
    at: AwareDatetime
    by: str
    reason: str
    override: bool = False
    percent: int | None = None


class Production(Frozen):
    """What serves.

    Attributes:
        previous: stable versions before the present one, newest first: where a rollback goes.
        withdrawn: versions that never come back by themselves.
        moves: of the last 31 days, oldest first; always at least the last one.
    """

    v: int = 1
    seq: Annotated[int, Field(ge=0)] = 0
    stable: int | None = None
    canary: Canary | None = None
    previous: tuple[int, ...] = ()
    withdrawn: tuple[int, ...] = ()
    moves: tuple[Move, ...] = ()

    @property
    def last(self) -> Move | None:
        """The last move."""
        return self.moves[-1] if self.moves else None

    def applied(self, cause: str) -> Move | None:
        """Return the move that an event caused, if it caused one."""
        return next((move for move in self.moves if move.cause == cause), None)


CODEC: Codec[Production] = Codec(parse=lambda data: parse_document(Production, data, what="registry/production.json"), dump=document_bytes)


class Command(Frozen):
    """Who wants a move, because of what, and why."""

    cause: str
    at: AwareDatetime
    by: str
    reason: str


def event_of(move: Move) -> RegistryEvent:
    """Return the event that tells of a move: the same one each time."""
    base = {
        "event_id": derived_event_id(move.kind, move.cause, str(move.seq)),
        "occurred_at": move.at,
        "seq": move.seq,
        "version": move.version,
        "stable": move.stable_after,
        "reason": move.reason,
    }
    if move.kind == "promote":
        return ModelDeployed.model_validate(base)
    if move.kind == "canary":
        return CanaryStarted.model_validate({**base, "percent": move.percent})
    return ModelRolledBack.model_validate(base)


def state_of(move: Move) -> Status:
    """Return the status that a move gives the cycle of its version."""
    return {"promote": Status.DEPLOYED, "canary": Status.CANARY, "rollback": Status.ROLLED_BACK}[move.kind]


def staleness(production: Production | None, version: int, champion: int | None) -> str | None:
    """Return why the evidence for a version no longer counts; None = it does."""
    now = production or Production()
    if version in now.withdrawn:
        return f"{version_name(version)} is withdrawn: promote it with an override and a reason"
    if now.stable not in {champion, version}:
        return f"validated against {_name(champion)}, but {_name(now.stable)} is stable now"
    return None


def decide_promote(
    production: Production | None, version: int, command: Command, *, champion: int | None, override: bool = False
) -> Decision[Production]:
    """Decide to make `version` stable.

    Args:
        production: the alias now.
        version: the version to promote.
        command: the cause.
        champion: the version that the evidence compares with; it must still be stable.
        override: a person takes the responsibility: neither champion nor withdrawal counts.
    """
    now = production or Production()
    if (done := now.applied(command.cause)) is not None:
        return Decision(None, (event_of(done),), "already applied")
    if now.stable == version:
        return Decision(None, reason=f"{version_name(version)} is stable already")
    stale = None if override else staleness(now, version, champion)
    if stale is not None:
        return Decision(None, reason=stale)
    previous = (now.stable, *now.previous) if now.stable is not None else now.previous
    return _moved(
        now,
        command,
        kind="promote",
        version=version,
        override=override,
        stable=version,
        canary=None if now.canary is not None and now.canary.version == version else now.canary,
        previous=tuple(item for item in previous if item != version)[:KEEP_PREVIOUS],
        withdrawn=tuple(item for item in now.withdrawn if item != version),
    )


def decide_canary(
    production: Production | None, version: int, percent: int, command: Command, *, champion: int | None
) -> Decision[Production]:
    """Decide to serve `version` to `percent` of the sessions beside the stable one."""
    now = production or Production()
    if (done := now.applied(command.cause)) is not None:
        return Decision(None, (event_of(done),), "already applied")
    if now.stable is None:
        return Decision(None, reason="no version is stable: a canary needs one beside it")
    if version == now.stable:
        return Decision(None, reason=f"{version_name(version)} is stable already")
    if (stale := staleness(now, version, champion)) is not None:
        return Decision(None, reason=stale)
    if now.canary is not None and now.canary.version != version:
        return Decision(None, reason=f"{version_name(now.canary.version)} is on canary already")
    canary = Canary(version=version, percent=percent, since=command.at)
    return _moved(now, command, kind="canary", version=version, percent=percent, canary=canary)


def decide_rollback(production: Production | None, version: int | None, command: Command) -> Decision[Production]:
    """Decide to withdraw a live version: the named one, else the canary, else the stable one."""
    now = production or Production()
    if (done := now.applied(command.cause)) is not None:
        return Decision(None, (event_of(done),), "already applied")
    canary = now.canary.version if now.canary else None
    target = version if version is not None else canary if canary is not None else now.stable
    if target is None or target not in {canary, now.stable}:
        return Decision(None, reason=f"{_name(target)} is not live: stable is {_name(now.stable)}, canary is {_name(canary)}")
    withdrawn = (*now.withdrawn, target)
    if target == canary:
        return _moved(now, command, kind="rollback", version=target, canary=None, withdrawn=withdrawn)
    good = [item for item in now.previous if item not in withdrawn]
    if not good:
        return Decision(None, reason=f"{_name(target)} has no good version before it: import or promote another one first")
    return _moved(
        now,
        command,
        kind="rollback",
        version=target,
        stable=good[0],
        canary=None if canary == good[0] else now.canary,
        previous=tuple(good[1:]),
        withdrawn=withdrawn,
    )


def decide_withdraw(production: Production | None, version: int) -> Decision[Production]:
    """Decide to mark a version as garbage: refused while it is stable, on canary or a place to roll back to."""
    now = production or Production()
    live = {now.stable, now.canary.version if now.canary else None, *now.previous}
    if version in live:
        return Decision(None, reason=f"{version_name(version)} is live or in the rollback window")
    if version in now.withdrawn:
        return Decision(None, reason="already withdrawn")
    return Decision(now.model_copy(update={"withdrawn": (*now.withdrawn, version)}))


def _moved(
    now: Production,
    command: Command,
    *,
    kind: MoveKind,
    version: int,
    override: bool = False,
    percent: int | None = None,
    **update: object,
) -> Decision[Production]:
    stable_after = update.get("stable", now.stable)
    move = Move(
        seq=now.seq + 1,
        cause=command.cause,
        kind=kind,
        version=version,
        stable_before=now.stable,
        stable_after=stable_after if isinstance(stable_after, int) else None,
        at=command.at,
        by=command.by,
        reason=command.reason,
        override=override,
        percent=percent,
    )
    kept = tuple(old for old in now.moves if old.at >= command.at - KEEP_MOVES)
    state = Production.model_validate({**dict(now), **update, "seq": move.seq, "moves": (*kept, move)})
    return Decision(state, (event_of(move),), command.reason)


def _name(version: int | None) -> str:
    return "no version" if version is None else version_name(version)
