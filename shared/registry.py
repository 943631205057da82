"""The production alias: one object, moved by compare-and-swap; the pure moves and what completes them.

`registry/production.json` is the truth. Before any new move the deployer completes the last one: the cycle's state,
then `registry/log/<seq>.json`, then the event.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from shared import keys
from shared.cas import Decision, document_codec
from shared.cycle import Status
from shared.documents import Frozen
from shared.events import MAX_REASON_CHARS, CanaryEnded, CanaryStarted, Digest, ModelDeployed, ModelRolledBack, RegistryEvent
from shared.ids import derived_event_id, version_name

KEEP_MOVES = timedelta(days=31)
KEEP_PREVIOUS = 20

MoveKind = Literal["promote", "canary", "end_canary", "rollback", "withdraw", "pin", "unpin"]


class Canary(Frozen):
    """A version that serves a share of the sessions; with 0 percent it is in shadow: it transcribes beside, and serves nobody."""

    version: Annotated[int, Field(ge=0)]
    percent: Annotated[int, Field(ge=0, le=99)]
    since: AwareDatetime


class Move(Frozen):
    """One move of the alias.

    Attributes:
        version: the version that was promoted, put on canary or taken off it, withdrawn or pinned.
        stable_before, stable_after: what the alias named.
        override: a person promoted it on their word alone. Stays for ever in the audit log.
        report_sha256, manifest_sha256: digests of the report and of the model's manifest that carried a promotion or a canary; None =
            no evidence did.
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
    report_sha256: Digest | None = None
    manifest_sha256: Digest | None = None

    @property
    def first(self) -> bool:
        """It made a model stable where none was: there is no evidence that it could go against, or without."""
        return self.stable_before is None and self.stable_after is not None

    @property
    def text(self) -> str:
        """What it did, in words."""
        share = "" if self.percent is None else f" for {self.percent}% of the sessions"
        return f"{self.kind.replace('_', ' ')} {version_name(self.version)}{share}"

    @property
    def audit_text(self) -> str:
        """The same, and whether evidence carried it."""
        if self.first:
            return f"{self.text} as the first model"
        return f"{self.text} against or without the evidence" if self.override else self.text


class Production(Frozen):
    """What serves.

    Attributes:
        previous: stable versions before the present one, newest first, none withdrawn: where a rollback goes.
        withdrawn: versions that never come back by themselves.
        collected: withdrawn versions whose files are deleted, or are about to be: nothing brings them back.
        pinned: versions whose files stay, whatever the retention says.
        moves: of the last 31 days, oldest first; always at least the last one.
    """

    v: Literal[1] = 1
    seq: Annotated[int, Field(ge=0)] = 0
    stable: int | None = None
    canary: Canary | None = None
    previous: tuple[int, ...] = ()
    withdrawn: tuple[int, ...] = ()
    collected: tuple[int, ...] = ()
    pinned: tuple[int, ...] = ()
    moves: tuple[Move, ...] = ()

    @property
    def last(self) -> Move | None:
        """The last move."""
        return self.moves[-1] if self.moves else None

    def applied(self, cause: str) -> Move | None:
        """Return the move that an event caused, if it caused one."""
        return next((move for move in self.moves if move.cause == cause), None)


CODEC = document_codec(Production, what=keys.PRODUCTION)


class Command(Frozen):
    """Who wants a move, because of what, and why.

    Attributes:
        report_sha256, manifest_sha256: digests of the evidence that was checked for it; None = there is none.
    """

    cause: str
    at: AwareDatetime
    by: str
    reason: str
    report_sha256: Digest | None = None
    manifest_sha256: Digest | None = None


class Stale(Decision[Production]):
    """A refusal for good, and so the end of the version's cycle: the evidence for it no longer counts; see `staleness`."""


def events_of(move: Move) -> tuple[RegistryEvent, ...]:
    """Return the events that tell of a move: the same ones each time; none where what serves stays as it is."""
    base = {
        "event_id": derived_event_id(move.kind, move.cause, str(move.seq)),
        "occurred_at": move.at,
        "seq": move.seq,
        "version": move.version,
        "stable": move.stable_after,
        "reason": move.reason,
    }
    if move.kind == "promote":
        return (ModelDeployed.model_validate(base),)
    if move.kind == "canary":
        return (CanaryStarted.model_validate({**base, "percent": move.percent}),)
    if move.kind == "end_canary":
        return (CanaryEnded.model_validate(base),)
    return (ModelRolledBack.model_validate(base),) if move.kind == "rollback" else ()


_STATES: dict[MoveKind, Status] = {
    "promote": Status.DEPLOYED,
    "canary": Status.CANARY,
    "end_canary": Status.INCONCLUSIVE,
    "rollback": Status.ROLLED_BACK,
    "withdraw": Status.INCONCLUSIVE,
}


def state_of(move: Move) -> Status | None:
    """Return the status that a move gives the cycle of its version where the table allows it; None = the move is none of its business."""
    return _STATES.get(move.kind)


def staleness(production: Production | None, version: int, champion: int | None) -> str | None:
    """Return why the evidence for a version no longer counts; None = it does."""
    now = production or Production()
    if version in now.collected:
        return _gone(version)
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
        champion: the version that the evidence compares with; it must still be stable. If it is not, and `version` is on canary, the
            canary ends: nothing can carry its promotion any more.
        override: a person takes the responsibility: neither champion nor withdrawal counts.
    """
    now = production or Production()
    if (done := now.applied(command.cause)) is not None:
        return Decision(None, events_of(done), "already applied")
    if now.stable == version:
        return Decision(None, reason=f"{version_name(version)} is stable already")
    if override and version in now.collected:
        return Decision(None, reason=_gone(version))
    if not override and (stale := staleness(now, version, champion)) is not None:
        return _stale(now, version, command, stale)
    previous = (now.stable, *now.previous) if now.stable is not None else now.previous
    return moved(
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
    """Decide to serve `version` to `percent` of the sessions beside the stable one; a stale canary ends, see `decide_promote`."""
    now = production or Production()
    if (done := now.applied(command.cause)) is not None:
        return Decision(None, events_of(done), "already applied")
    if version == now.stable:
        return Decision(None, reason=f"{version_name(version)} is stable already")
    if (stale := staleness(now, version, champion)) is not None:
        return _stale(now, version, command, stale)
    if now.stable is None:
        return Decision(None, reason="no version is stable: a canary needs one beside it")
    if now.canary is not None and now.canary.version != version:
        return Decision(None, reason=f"{version_name(now.canary.version)} is on canary already")
    canary = Canary(version=version, percent=percent, since=command.at)
    return moved(now, command, kind="canary", version=version, percent=percent, canary=canary)


def decide_rollback(
    production: Production | None, version: int | None, command: Command, *, to: int | None = None, damaged: Mapping[int, str] | None = None
) -> Decision[Production]:
    """Decide to withdraw a live version: the named one, else the canary, else the stable one.

    Args:
        production: the alias now.
        version: the version to withdraw; None = the canary if there is one and `to` is None, else the stable version.
        command: the cause.
        to: the earlier stable version that shall serve then; None = the last good one.
        damaged: what is wrong with stored models, by version: they are passed over, and the reason says so.
    """
    now = production or Production()
    if (done := now.applied(command.cause)) is not None:
        return Decision(None, events_of(done), "already applied")
    canary = now.canary.version if now.canary else None
    target = version if version is not None else canary if canary is not None and to is None else now.stable
    if target is None or target not in {canary, now.stable}:
        return Decision(None, reason=f"{_name(target)} is not live: stable is {_name(now.stable)}, canary is {_name(canary)}")
    if target != canary:
        return _roll_stable_back(now, command, to, damaged or {})
    if to is not None:
        reason = f"{_name(target)} is on canary: {_name(now.stable)} stays stable, expected no version to go to, found {_name(to)}"
        return Decision(None, reason=reason)
    return moved(now, command, kind="rollback", version=target, canary=None, withdrawn=(*now.withdrawn, target))


def _roll_stable_back(now: Production, command: Command, to: int | None, damaged: Mapping[int, str]) -> Decision[Production]:
    line = [item for item in now.previous if item not in now.withdrawn]
    if to is not None and to not in line:
        return Decision(None, reason=_not_in_line(now, to, line))
    line = line[0 if to is None else line.index(to) :]
    good = next((item for item in line if item not in damaged), None)
    passed = "; ".join(f"{damaged[item]}: passed over" for item in line[: None if good is None else line.index(good)])
    if good is None or now.stable is None:
        without = f"{_name(now.stable)} has no good version before it: import or promote another one first"
        return Decision(None, reason=f"{without} ({passed})" if passed else without)
    return moved(
        now,
        command.model_copy(update={"reason": f"{passed}; {command.reason}"}) if passed else command,
        kind="rollback",
        version=now.stable,
        stable=good,
        canary=None if now.canary is not None and now.canary.version == good else now.canary,
        previous=tuple(line[line.index(good) + 1 :]),
        withdrawn=(*now.withdrawn, now.stable),
    )


def moved(
    now: Production,
    command: Command,
    *,
    kind: MoveKind,
    version: int,
    override: bool = False,
    percent: int | None = None,
    **update: object,
) -> Decision[Production]:
    """Return the alias after a move, with the move on record and the events that tell of it.

    Args:
        now: the alias as it is.
        command: who wants it, because of what, and why.
        kind: of the move.
        version: that it is about.
        override: a person promotes it on their word alone.
        percent: share of the sessions, of a canary.
        update: fields of `Production` that change; a withdrawn version leaves the line for a rollback by itself.
    """
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
        reason=command.reason[:MAX_REASON_CHARS],
        override=override,
        percent=percent,
        report_sha256=command.report_sha256,
        manifest_sha256=command.manifest_sha256,
    )
    kept = tuple(old for old in now.moves if old.at >= command.at - KEEP_MOVES)
    after = Production.model_validate({**dict(now), **update, "seq": move.seq, "moves": (*kept, move)})
    line = tuple(item for item in after.previous if item not in after.withdrawn)
    return Decision(after.model_copy(update={"previous": line}), events_of(move), move.reason)


def _stale(now: Production, version: int, command: Command, reason: str) -> Decision[Production]:
    """Refuse what stale evidence was to carry; a canary that rests on it ends."""
    if now.canary is None or now.canary.version != version:
        return Stale(None, reason=reason)
    return moved(now, command.model_copy(update={"reason": reason}), kind="end_canary", version=version, canary=None)


def _not_in_line(now: Production, version: int, line: list[int]) -> str:
    if version in now.withdrawn:
        return f"{_name(version)} is withdrawn: promote it with an override and a reason"
    found = ", ".join(map(_name, line)) or "none"
    return f"{_name(version)} is not in line for a rollback: expected one of the stable versions before ({found})"


def _gone(version: int) -> str:
    return f"{version_name(version)} was collected: its files are deleted, nothing brings it back"


def _name(version: int | None) -> str:
    return "no version" if version is None else version_name(version)
