"""Which models stay: what is withdrawn or pinned, and what may be collected. Pure.

A model is collected in two steps: a swap of the alias marks it as `collected`, which is refused while anything needs it and
which no promotion, not even an override, undoes; only then are its files deleted.
"""

from shared.cas import Decision
from shared.ids import version_name
from shared.registry import Command, Production, events_of, moved


def decide_withdraw(production: Production | None, version: int, command: Command, *, collect: bool = False) -> Decision[Production]:
    """Decide that a version never comes back by itself: refused while it serves, is a place to roll back to, or is pinned.

    Args:
        production: the alias now.
        version: the version to withdraw.
        command: the cause.
        collect: its files will be deleted: not even an override brings it back.
    """
    now = production or Production()
    if (done := now.applied(command.cause)) is not None:
        return Decision(None, events_of(done), "already applied")
    if version in {now.stable, now.canary.version if now.canary else None, *now.previous}:
        return Decision(None, reason=f"{version_name(version)} is live or in the rollback window")
    if version in now.collected or (version in now.withdrawn and not collect):
        return Decision(None, reason=f"{version_name(version)} is {'collected' if version in now.collected else 'withdrawn'} already")
    if version in now.pinned:
        return Decision(None, reason=f"{version_name(version)} is pinned: unpin it first")
    withdrawn = now.withdrawn if version in now.withdrawn else (*now.withdrawn, version)
    collected = (*now.collected, version) if collect else now.collected
    return moved(now, command, kind="withdraw", version=version, withdrawn=withdrawn, collected=collected)


def decide_pin(production: Production | None, version: int, command: Command, *, pinned: bool) -> Decision[Production]:
    """Decide that the files of a version stay whatever the retention says, or (`pinned` false) no longer."""
    now = production or Production()
    name = version_name(version)
    if (done := now.applied(command.cause)) is not None:
        return Decision(None, events_of(done), "already applied")
    if (version in now.pinned) == pinned:
        return Decision(None, reason=f"{name} is pinned already" if pinned else f"{name} is not pinned")
    if version in now.collected:
        return Decision(None, reason=f"{name} was collected: there is nothing left to keep")
    kept = (*now.pinned, version) if pinned else tuple(item for item in now.pinned if item != version)
    return moved(now, command, kind="pin" if pinned else "unpin", version=version, pinned=kept)
