"""What the pages of a cycle and of a model show [io]."""

from dataclasses import replace

from functions.acts.review import GoldReview, Said
from functions.runtime import Ports
from functions.states import find_state
from functions.views.cycle import CycleStory, read_cycle
from functions.views.production import ModelView, get_model, newest_moves, role_of
from functions.views.review import doubtful_gold
from functions.views.run import RunView, read_run
from functions.views.snapshot import Snapshot
from shared import keys
from shared.alias import find_production
from shared.cas import find, find_document
from shared.cases import Resolved
from shared.cycle import CycleState
from shared.documents import Frozen
from shared.errors import NotFound
from shared.gold import ReviewItem
from shared.manifest import ModelManifest
from shared.registry import Move, Production
from shared.training import ClipSet, TrainingSpec

LOOKED_MOVES = 100
"""So many newest moves of the alias are looked through for those of one version."""
MOST_ANCESTORS = 10
MOST_DOUBTFUL = 50


class CycleDetails(Frozen):
    """One cycle.

    Attributes:
        run: how its trainer did in the last attempt, epoch by epoch, and what its machines cost.
        has_report: there is the validator's full page.
        has_model: a model of this number is complete.
        role: of that model; empty = it serves nobody.
        doubtful: gold that a person must decide, the first so many; `doubtful_total` in all. Answers given since are not looked up.
    """

    story: CycleStory
    run: RunView
    has_report: bool
    has_model: bool
    role: str
    doubtful: tuple[ReviewItem, ...]
    doubtful_total: int


class Ancestor(Frozen):
    """A model that another one was trained from.

    Attributes:
        there: its manifest is still there.
    """

    version: int
    origin: str
    role: str
    there: bool


class ModelDetails(Frozen):
    """One model.

    Attributes:
        lineage: what it was trained from, its parent first.
        state: of its cycle; None = the first import, which has none.
        sets: that its cycle's spec names: what it was trained, tuned and judged on.
        moves: of the alias, newest first.
    """

    model: ModelView
    lineage: tuple[Ancestor, ...]
    state: CycleState | None
    sets: tuple[ClipSet, ...]
    resolved: Resolved | None
    moves: tuple[Move, ...]


def read_cycle_details(live: Ports, cycle: int) -> CycleDetails:
    """Read one cycle.

    Raises:
        NotFound: no such cycle was opened.
    """
    store = Snapshot(live.store)
    ports = replace(live, store=store)
    own = (keys.state, keys.report, keys.dataset, keys.declined, keys.result, keys.heartbeat, keys.progress, keys.manifest, keys.gold)
    store.prefetch([keys.PRODUCTION, keys.report_html(cycle), *(key(cycle) for key in own)])
    production = find_production(ports.store)
    story = read_cycle(ports, cycle, _moves(ports, store, production))
    doubtful = doubtful_gold(ports, cycle)
    return CycleDetails(
        story=story,
        run=read_run(ports, story.state),
        has_report=find(store, keys.report_html(cycle)) is not None,
        has_model=find(store, keys.manifest(cycle)) is not None,
        role=role_of(production or Production(), cycle),
        doubtful=tuple(doubtful[:MOST_DOUBTFUL]),
        doubtful_total=len(doubtful),
    )


def read_model_details(live: Ports, version: int) -> ModelDetails:
    """Read one model.

    Raises:
        NotFound: there is no such model.
    """
    store = Snapshot(live.store)
    ports = replace(live, store=store)
    own = (keys.manifest, keys.report, keys.resolved, *([keys.state, keys.spec] if version else []))
    store.prefetch([keys.PRODUCTION, *(key(version) for key in own)])
    production = find_production(ports.store)
    moves = _moves(ports, store, production)
    return ModelDetails(
        model=(model := get_model(ports, version, moves)),
        lineage=_lineage(ports, model.manifest, production or Production()),
        state=find_state(ports, version) if version else None,
        sets=_sets(ports, version) if version else (),
        resolved=find_document(store, keys.resolved(version), Resolved),
        moves=tuple(move for move in moves if move.version == version),
    )


class Reviews(Frozen):
    """Gold of a cycle that a person must decide, and what people said since.

    Attributes:
        waiting: the first so many; `waiting_total` in all.
        answered: newest first, the newest so many.
    """

    cycle: int
    waiting: tuple[ReviewItem, ...]
    waiting_total: int
    answered: tuple[Said, ...]


def read_reviews(live: Ports, cycle: int) -> Reviews:
    """Read the gold of a cycle.

    Raises:
        Refused: it made none.
    """
    review = GoldReview(replace(live, store=Snapshot(live.store)), cycle)
    waiting = review.waiting()
    return Reviews(
        cycle=cycle,
        waiting=tuple(waiting[:MOST_DOUBTFUL]),
        waiting_total=len(waiting),
        answered=tuple(review.answered()[:MOST_DOUBTFUL]),
    )


def read_report(ports: Ports, cycle: int) -> bytes:
    """Return the validator's own page about a cycle.

    Raises:
        NotFound: there is none.
    """
    found = find(ports.store, keys.report_html(cycle))
    if found is None:
        raise NotFound(f"cycle {cycle}: expected a report, found none: it was not judged")
    return found.data


def _moves(ports: Ports, store: Snapshot, production: Production | None) -> tuple[Move, ...]:
    seq = production.seq if production is not None else 0
    store.prefetch(keys.registry_log(number) for number in range(seq, max(seq - LOOKED_MOVES, 0), -1))
    return newest_moves(ports, production, LOOKED_MOVES)


def _lineage(ports: Ports, manifest: ModelManifest, production: Production) -> tuple[Ancestor, ...]:
    line: list[Ancestor] = []
    parent = manifest.base_version
    while parent is not None and len(line) < MOST_ANCESTORS:
        known = find_document(ports.store, keys.manifest(parent), ModelManifest)
        origin = known.origin if known is not None else "no manifest any more"
        line.append(Ancestor(version=parent, origin=origin, role=role_of(production, parent), there=known is not None))
        parent = known.base_version if known is not None else None
    return tuple(line)


def _sets(ports: Ports, version: int) -> tuple[ClipSet, ...]:
    spec = find_document(ports.store, keys.spec(version), TrainingSpec)
    return spec.sets if spec is not None else ()
