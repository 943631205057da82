"""What became of a version, from the records: where it comes from, why it was accepted, who deployed it, why it was rolled back [io]."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from functions.runtime import Ports
from functions.states import find_state
from functions.views.production import ModelView, read_moves
from infra.explain.cycle_story import move_lines, verdict_lines
from infra.models.stored import show_model
from infra.wording import when
from shared import keys
from shared.cas import find
from shared.cases import Resolved
from shared.cycle import CycleState
from shared.documents import Frozen, parse_document
from shared.ids import version_name
from shared.registry import Move


class VersionStory(Frozen):
    """All that is on record about one version.

    Attributes:
        model: the model, its lineage, its verdict and its role now.
        state: of the cycle that made it, or whose number an import took; None = the first import.
        resolved: how many production errors it was told to have fixed once it served; None = not told.
        moves: what the production alias did with it, from the audit log.
    """

    model: ModelView
    state: CycleState | None
    resolved: Resolved | None
    moves: tuple[Move, ...]


def tell(ports: Ports, version: int) -> VersionStory:
    """Read the records of one version; writes nothing.

    Raises:
        Refused: there is no such model.
    """
    stored = find(ports.store, keys.resolved(version))
    return VersionStory(
        model=show_model(ports, version),
        state=find_state(ports, version) if version else None,
        resolved=parse_document(Resolved, stored.data, what=stored.info.key) if stored else None,
        moves=tuple(move for move in read_moves(ports) if move.version == version),
    )


def render(story: VersionStory) -> RenderableType:
    """Return the story for people."""
    name = version_name(story.model.version)
    title = Text(f"{name}: {story.model.role or 'serves nobody'}", style="bold")
    return Group(title, *(Text(line) for line in _lines(story)))


def _lines(story: VersionStory) -> Iterator[str]:
    manifest, state = story.model.manifest, story.state
    base = "" if manifest.base_version is None else f" from {version_name(manifest.base_version)}"
    yield f"  {manifest.origin}{base}, {when(manifest.created_at)}; has learned the data of {_cycles(manifest.learned)}"
    if state is not None and not state.imported:
        yield f"  its cycle was opened because: {state.history[0].reason} (`retune explain {state.cycle}` tells more)"
    yield from verdict_lines(story.model.verdict)
    yield from move_lines(story.moves)
    if not story.moves:
        yield "  it was never deployed"
    if story.resolved is not None:
        yield f"  fixed for production: {story.resolved.held_out} errors that were held out, {story.resolved.learned} that it learned"
    if story.model.pinned:
        yield "  pinned: its files stay whatever the retention says"


def _cycles(numbers: tuple[int, ...]) -> str:
    return f"cycle{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}" if numbers else "no cycle"
