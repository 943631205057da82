"""Which models stay: what is withdrawn or pinned, and what may be collected. Pure.

A model is collected in two steps: a swap of the alias marks it as `collected`, which is refused while anything needs it and
which no promotion, not even an override, undoes; only then are its files deleted. Its manifest stays: it says what was learned.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import AwareDatetime

from shared.cas import Decision
from shared.documents import Frozen
from shared.ids import version_name
from shared.registry import Command, Production, events_of, moved

UPLOADS_TAKE = timedelta(days=1)
"""Far longer than any upload, and than a process that was stopped in the middle of one needs to look at its cycle again."""


class StoredModel(Frozen):
    """A model with files in the store.

    Attributes:
        base_version: what it was trained from; None for an import.
        size_bytes: of the files that a collection would delete.
    """

    version: int
    base_version: int | None
    size_bytes: int


class UnfinishedUpload(Frozen):
    """Files of a model that has no manifest: a trainer or an import is about to write it, or died before.

    Attributes:
        written_at: when the newest of them was written.
        ended_at: when the cycle of that number ended, which is at once for an import; None = it has not.
        completed: a result of the trainer names the manifest: it was there once.
    """

    version: int
    size_bytes: int
    written_at: AwareDatetime
    ended_at: AwareDatetime | None
    completed: bool = False


class Fate(Frozen):
    """What the retention says of a model: `collect` it or not, and why."""

    version: int
    collect: bool
    why: str
    size_bytes: int


def decide_gc(
    production: Production | None, models: Sequence[StoredModel], running: Mapping[int, int | None], keep_newest: int
) -> tuple[Fate, ...]:
    """Decide which models nobody needs any more: the fate of each, the oldest first.

    Args:
        production: the alias now.
        models: those that have files besides their manifest.
        running: cycles that have not ended, each with the version that it trains from (None = not chosen yet).
        keep_newest: so many of the highest numbers stay, whatever became of them.
    """
    now = production or Production()
    needed = _needed(now, models, running, keep_newest)
    why_not = f"neither serves nor is in line for a rollback, pinned, a base, of a running cycle or among the newest {keep_newest}"
    fates = []
    for model in sorted(models, key=lambda model: model.version):
        if model.version in now.collected:
            collect, why = True, "an earlier collection did not come to its end"
        elif model.version in needed:
            collect, why = False, needed[model.version]
        else:
            collect, why = True, f"{'withdrawn, ' if model.version in now.withdrawn else ''}{why_not}"
        fates.append(Fate(version=model.version, collect=collect, why=why, size_bytes=model.size_bytes))
    return tuple(fates)


def decide_unfinished(production: Production | None, upload: UnfinishedUpload, running: Mapping[int, int | None], now: datetime) -> Fate:
    """Decide whether nobody will finish an upload any more, and nobody ever did.

    It goes without being marked in the alias first: without a manifest no verdict, promotion or override can name it. A trainer looks at
    its cycle once more before it writes one, so that a cycle which has ended so long ago gets none. A model that lost its manifest later
    is damaged and stays: people look at it.

    Args:
        production: the alias now.
        upload: what was found.
        running: as in `decide_gc`.
        now: the present time.
    """
    needed = _needed(production or Production(), (), running, 0).get(upload.version)
    collect = False
    if needed is not None:
        why = f"no manifest, but {needed}"
    elif upload.completed:
        why = "its manifest was there once and is lost: `retune models verify` says more"
    elif upload.ended_at is None:
        why = "no manifest yet: its cycle has not ended"
    elif now - max(upload.written_at, upload.ended_at) <= UPLOADS_TAKE:
        why = "no manifest yet: it may be on its way for a day"
    else:
        collect, why = True, "no manifest: whoever uploaded it died, and its cycle has ended"
    return Fate(version=upload.version, collect=collect, why=why, size_bytes=upload.size_bytes)


def _needed(now: Production, models: Sequence[StoredModel], running: Mapping[int, int | None], keep_newest: int) -> dict[int, str]:
    """Return why versions are needed; the first reason found stands."""
    needed: dict[int, str] = {}
    if now.stable is not None:
        needed[now.stable] = "stable"
    if now.canary is not None:
        needed.setdefault(now.canary.version, "on canary")
    for version in now.previous:
        needed.setdefault(version, "in line for a rollback")
    for version in now.pinned:
        needed.setdefault(version, "pinned")
    for cycle, base in running.items():
        needed.setdefault(cycle, f"cycle {cycle} runs")
        if base is not None:
            needed.setdefault(base, f"the base that cycle {cycle} trains from")
    for model in models:
        if model.version in needed and model.base_version is not None:
            needed.setdefault(model.base_version, f"the base of {version_name(model.version)}")
    here = sorted((model.version for model in models if model.version not in now.collected), reverse=True)
    for version in here[:keep_newest]:
        needed.setdefault(version, f"among the newest {keep_newest}")
    return needed


def decide_withdraw(production: Production | None, version: int, command: Command, *, collect: bool = False) -> Decision[Production]:
    """Decide that a version never comes back by itself: refused while it serves, or is pinned.

    A person may so take a version out of the line for a rollback. A collection may not: what could serve again keeps its files.

    Args:
        production: the alias now.
        version: the version to withdraw.
        command: the cause.
        collect: its files will be deleted: not even an override brings it back.
    """
    now = production or Production()
    if (done := now.applied(command.cause)) is not None:
        return Decision(None, events_of(done), "already applied")
    if version in {now.stable, now.canary.version if now.canary else None}:
        return Decision(None, reason=f"{version_name(version)} is live: roll it back")
    if collect and version in now.previous:
        return Decision(None, reason=f"{version_name(version)} is in line for a rollback")
    if version in now.collected or (version in now.withdrawn and not collect):
        return Decision(None, reason=f"{version_name(version)} is {'collected' if version in now.collected else 'withdrawn'} already")
    if version in now.pinned:
        return Decision(None, reason=f"{version_name(version)} is pinned: unpin it first")
    withdrawn = now.withdrawn if version in now.withdrawn else (*now.withdrawn, version)
    collected = (*now.collected, version) if collect else now.collected
    line = tuple(item for item in now.previous if item != version)
    if now.previous and not line:
        command = command.model_copy(update={"reason": f"a rollback has nowhere to go from now on; {command.reason}"})
    return moved(now, command, kind="withdraw", version=version, previous=line, withdrawn=withdrawn, collected=collected)


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
