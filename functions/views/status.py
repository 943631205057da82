"""Where everything stands: what is collected, which cycle runs and how far it is, what serves."""

from datetime import UTC, datetime

from functions.crossing import Declined, find_declined
from functions.launcher.spending import read_spends
from functions.runtime import Ports
from functions.states import find_state
from functions.sweeper.decide import SPENDS
from functions.sweeper.verdict import subjects
from functions.sweeper.watch import find_watch
from functions.views.dead_letters import DeadLetters, read_dead_letters
from functions.views.run import RunView, read_run
from shared import keys, ledger
from shared.alias import find_production
from shared.backlog import Backlogs
from shared.budget import Spend
from shared.cas import find_document
from shared.cycle import CycleState
from shared.documents import Frozen
from shared.head import FIRST_CYCLE, read_head
from shared.registry import Production
from shared.totals import Totals
from shared.training import Heartbeat
from shared.watch import Watch


class CycleView(Frozen):
    """A cycle and how far its trainer is.

    Attributes:
        heartbeat: the trainer's last sign of life in the present attempt; None = none yet.
    """

    state: CycleState
    heartbeat: Heartbeat | None = None


class StatusReport(Frozen):
    """What `retune status` and the console show.

    Attributes:
        collecting: number of the cycle that collects.
        collected: how much it holds; after redeliveries it may be too high, `explain` counts exactly.
        wanted: thresholds of the policy.
        running: the cycle that has not ended.
        ended: the newest cycle that has.
        declined: the last recorded refusal to start the cycle that collects.
        watches: what was seen of the canary, and of a stable version in its guard window.
        spends: what has been spent of each limit of the budget, while a cycle runs that may train.
        run: how the running cycle does: loss, dev WER, time left, and its cost so far.
        dead: the dead letters that wait; None = nobody was asked.
    """

    at: datetime
    bucket: str
    collecting: int
    collected: Totals
    wanted: dict[str, int]
    running: CycleView | None
    ended: CycleView | None
    declined: Declined | None
    production: Production | None
    watches: tuple[Watch, ...] = ()
    spends: tuple[Spend, ...] = ()
    run: RunView | None = None
    dead: DeadLetters | None = None


def look(ports: Ports, *, spends: bool = True, backlogs: Backlogs | None = None) -> StatusReport:
    """Read where everything stands; changes nothing.

    Args:
        ports: the outside world.
        spends: also read what the budget's whole period has spent, which takes three reads for each of its cycles.
        backlogs: is asked how many dead letters wait; None = nobody is.
    """
    head = read_head(ports.store)
    views = [view for view in (_view(ports, number) for number in (head, head - 1) if number >= FIRST_CYCLE) if view is not None]
    policy = ports.settings.policy
    production = find_production(ports.store)
    running = next((view for view in views if not view.state.ended), None)
    watched = ((subject, find_watch(ports, subject.version)) for subject in subjects(production, policy.canary))
    return StatusReport(
        at=ports.clock.now(),
        bucket=ports.store.uri,
        collecting=head,
        collected=ledger.count(ports.store, head),
        wanted={"errors": policy.min_error_cases, "corrected": policy.min_corrected_cases},
        running=running,
        ended=next((view for view in views if view.state.ended), None),
        declined=find_declined(ports, head),
        production=production,
        watches=tuple(watch for subject, watch in watched if watch is not None and watch.subject == subject),
        spends=read_spends(ports, running.state.cycle) if spends and running is not None and running.state.status in SPENDS else (),
        run=read_run(ports, running.state) if running is not None else None,
        dead=read_dead_letters(backlogs, ports.clock.now()) if backlogs is not None else None,
    )


def without_time(report: StatusReport) -> StatusReport:
    """Return what stays the same while nothing happens."""
    never = datetime.min.replace(tzinfo=UTC)
    run = report.run and report.run.model_copy(update={"gpu_s": 0.0, "usd": None})
    waiting = tuple(each.model_copy(update={"oldest_s": None, "at": never}) for each in report.dead.waiting) if report.dead else ()
    dead = report.dead and report.dead.model_copy(update={"waiting": waiting})
    return report.model_copy(update={"at": never, "run": run, "dead": dead})


def _view(ports: Ports, cycle: int) -> CycleView | None:
    state = find_state(ports, cycle)
    if state is None:
        return None
    beat = find_document(ports.store, keys.heartbeat(cycle), Heartbeat)
    return CycleView(state=state, heartbeat=beat if beat is not None and beat.attempt == state.attempt else None)
