"""From what a person asks to a simulation: the calls, the assumptions, the policies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.errors import Refused
from infra.simulate.assumptions import ALWAYS, ALWAYS_RECORDED, RECORDED_TELLS, Assumptions, Stated, parse_assumptions, stated
from infra.simulate.calls import Calls, ModelledCalls
from infra.simulate.measured import Fitted, fit
from infra.simulate.outcome import Simulation
from infra.simulate.policies import policies
from infra.simulate.recorded import RecordedCalls, read_history
from infra.simulate.run import Tell, Trial, simulate_all
from shared.errors import InvalidMessage
from shared.policy import Policy
from shared.stores import open_store
from shared.testing.clock import START

DAYS = 90.0
ERRORS_PER_HOUR = 5.0


@dataclass(frozen=True)
class Asked:
    """What a person asks.

    Attributes:
        days, errors_per_hour: None = the record's own length; the defaults where calls are made up.
        history: a record to play again; None = calls are made up.
        files, changes: policies; see `infra.simulate.policies`.
        assume: `name=value` each.
        measured_from: a bucket whose cycles tell what training does; None = the prior.
    """

    days: float | None = None
    errors_per_hour: float | None = None
    history: str | None = None
    files: Sequence[Path] = ()
    changes: Sequence[str] = ()
    assume: Sequence[str] = ()
    measured_from: str | None = None
    usd_per_gpu_hour: float | None = None
    seed: int = 0
    present: Policy = field(default_factory=Policy)


def carry_out(asked: Asked, tell: Tell) -> Simulation:
    """Simulate what was asked.

    Raises:
        Refused: something asked for cannot be; the text says what was expected.
    """
    chosen = policies(asked.present, asked.files, asked.changes)
    fitted = _fitted(asked.measured_from) if asked.measured_from else Fitted({}, {})
    assumptions, given = parse_assumptions(asked.assume, fitted.values)
    unused = RECORDED_TELLS if asked.history else frozenset[str]()
    useless = sorted(given & unused)
    if useless:
        raise Refused(f"--assume {useless[0]}: a recorded history tells that itself; leave it out, or leave --history out")
    calls, days, source, rates = _calls(asked, assumptions)
    trial = Trial(
        calls=calls, days=days, wer=assumptions.wer, assumptions=assumptions, seed=asked.seed, usd_per_gpu_hour=asked.usd_per_gpu_hour
    )
    outcomes = simulate_all(chosen, trial, tell)
    return Simulation(
        source=source,
        days=days,
        seed=asked.seed,
        outcomes=outcomes,
        assumptions=(*rates, *stated(assumptions, given, fitted.basis, unused)),
        always=ALWAYS_RECORDED if asked.history else ALWAYS,
    )


def _fitted(uri: str) -> Fitted:
    folder = Path(uri)
    try:
        store = open_store(folder.resolve().as_uri() if folder.is_dir() else uri)
    except InvalidMessage as error:
        raise Refused(f"--measured-from {uri}: expected a store's folder or gs://bucket, found neither") from error
    return fit(store)


def _calls(asked: Asked, assumptions: Assumptions) -> tuple[Callable[[], Calls], float, str, tuple[Stated, ...]]:
    if asked.history is not None:
        if asked.errors_per_hour is not None:
            raise Refused("--errors-per-hour: a recorded history has its own rate; leave one of the two out")
        events, where = read_history(asked.history)
        recorded = RecordedCalls(events, START, assumptions, asked.seed)
        days = min(asked.days or recorded.days, recorded.days)
        # one step more than the record: its last event comes too
        days = max(days, assumptions.resolution_s / 86_400.0)
        return lambda: RecordedCalls(events, START, assumptions, asked.seed), days, f"{len(events)} events recorded in {where}", ()
    rate = ERRORS_PER_HOUR if asked.errors_per_hour is None else asked.errors_per_hour
    days = asked.days or DAYS
    calls = ModelledCalls(START, days, rate, assumptions, asked.seed)
    rates = (
        Stated(
            name="errors_per_hour",
            value=rate,
            meaning="reported errors while the first model serves",
            origin="assumed" if asked.errors_per_hour is None else "given",
        ),
        Stated(
            name="utterances_per_hour",
            value=round(calls.utterances_per_hour, 1),
            meaning="of all calls",
            origin="computed",
            basis="from errors_per_hour, wer, words and report_rate",
        ),
    )
    source = f"calls made up at {rate:g} reported errors an hour"
    return lambda: ModelledCalls(START, days, rate, assumptions, asked.seed), days, source, rates
