"""What happens to a burning stack and when, drawn from a seed. Pure: a plan is a value."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from functions.wiring import READS
from tests.chaos.fire.clock import RATE
from tests.chaos.fire.machines import FATES as INSERTS
from tests.chaos.fire.machines import HARMS
from tests.chaos.fire.weather import DEADLY, FATES, SUFFERERS, Trouble
from tests.chaos.runner import MOST_ROUNDS
from tests.chaos.schedule import ACTORS, POLICIES, SKEW_S

STORE = "store"
PUBSUB = "pubsub"
PUBSUB_KILLS = 3
"""Of each deck: all that anybody is told goes through it."""
FIRST_REPORTS = 12
OUTSIDE_EVERY_S = 0.5
FAULT_EVERY_S = 0.5
TICK_EVERY_S = 60 / RATE
QUIET_S = 1.0
"""Nothing strikes before: something must be under way."""


@dataclass(frozen=True)
class Act:
    """One thing that is done.

    Attributes:
        kind: of `tests.chaos.fire.acts.ACTS`.
        number: how many, which, or how many seconds of the stack's clock.
        text: a person's message, an actor, or a detail.
        troubles: what begins to go wrong.
        at_s: real seconds from the beginning.
    """

    kind: str
    number: int = 0
    text: str = ""
    troubles: tuple[Trouble, ...] = ()
    at_s: float = 0.0

    def __str__(self) -> str:
        troubles = "; ".join(map(str, self.troubles))
        return " ".join(part for part in (self.kind, str(self.number) if self.number else "", self.text, troubles) if part)


@dataclass(frozen=True)
class Plan:
    """A history to be run.

    Attributes:
        policy: of POLICIES.
        seconds: real time until the faults stop.
        acts: in order.
        defects: planted in the functions, of `tests.chaos.fire.defects.DEFECTS`.
        rounds: so many ticks are waited for everything to come to rest.
        stays: share of the trainers that are done whose machine does not go by itself: the sweeper must end it.
    """

    seed: int
    policy: str
    seconds: float
    acts: tuple[Act, ...]
    defects: tuple[str, ...] = ()
    rounds: int = MOST_ROUNDS
    stays: float = 0.2

    @property
    def clocks_agree(self) -> bool:
        """No process believes another time than the others."""
        return not any(act.kind == "skew" for act in self.acts)


def generate(seed: int, seconds: float, *, defects: tuple[str, ...] = ()) -> Plan:
    """Draw a plan; the same seed and length give the same one."""
    rng = random.Random(seed)
    policy = rng.choice(list(POLICIES))
    acts = [Act("report", FIRST_REPORTS), Act("serve", 200, at_s=0.1)]
    acts += [Act("tick", at_s=number * TICK_EVERY_S) for number in range(int(seconds / TICK_EVERY_S) + 1)]
    acts += _at_times(rng, seconds, 0.0, OUTSIDE_EVERY_S, _outside(rng))
    acts += _at_times(rng, seconds, QUIET_S, FAULT_EVERY_S, _faults(rng))
    return Plan(seed, policy, seconds, tuple(sorted(acts, key=lambda act: act.at_s)), defects)


def _at_times(rng: random.Random, seconds: float, first_s: float, every_s: float, acts: Iterator[Act]) -> Iterator[Act]:
    at_s = first_s + rng.expovariate(1 / every_s)
    while at_s < seconds:
        yield replace(next(acts), at_s=round(at_s, 3))
        at_s += rng.expovariate(1 / every_s)


def _outside(rng: random.Random) -> Iterator[Act]:
    """Yield what production and people do."""
    while True:
        yield rng.choices([draw for draw, _ in _DRAWS], [weight for _, weight in _DRAWS])[0](rng)


def _faults(rng: random.Random) -> Iterator[Act]:
    """Yield every kind of fault, then all of them again in another order and with other victims."""
    while True:
        deck = [_trouble(rng, link, fate) for link, fates in FATES.items() for fate in fates]
        deck += [Act("kill", text=actor) for actor in (*READS, STORE, *[PUBSUB] * PUBSUB_KILLS)]
        deck += [_partition(rng, actor) for actor in ACTORS]
        deck += [Act("skew", rng.randint(-SKEW_S, SKEW_S), actor) for actor in rng.sample(ACTORS, 3)]
        deck += [Act("machine", text=how) for how in HARMS for _ in range(2)]
        deck += [Act("inserts", rng.randint(1, 3), fate) for fate in INSERTS]
        deck += [Act("deliver again", rng.randint(0, 8), topic) for topic in _AGAIN]
        deck += [Act("reorder", rng.randint(1, 1000))]
        rng.shuffle(deck)
        yield from deck


def _trouble(rng: random.Random, link: str, fate: str) -> Act:
    share = 1.0 if fate in DEADLY else rng.choice((0.1, 0.3, 0.6, 1.0))
    return Act("trouble", troubles=(Trouble(rng.choice(SUFFERERS[link]), link, fate, share, round(rng.uniform(0.3, 1.5), 1)),))


def _partition(rng: random.Random, actor: str) -> Act:
    """One process reaches nothing for a while, the others everything; it is reached, and may try."""
    seconds = round(rng.uniform(0.5, 3.0), 1)
    links = [link for link, actors in SUFFERERS.items() if actor in actors and link != "push"]
    return Act("partition", text=actor, troubles=tuple(Trouble(actor, link, CUT_OFF[link], 1.0, seconds) for link in links))


CUT_OFF = {"store": "refused", "bus": "503", "compute": "refused"}
_AGAIN = ("finetune-triggers", "training-events", "validation-events", "model-commands")
_MALFORMED = ("stt-errors", *_AGAIN)


def _typed(topic: str, *texts: str) -> Callable[[random.Random], Act]:
    return lambda rng: Act("type", text=f"{topic} {rng.choice(texts)}")


def _act(kind: str, numbers: tuple[int, ...] = (0,), texts: tuple[str, ...] = ("",)) -> Callable[[random.Random], Act]:
    return lambda rng: Act(kind, rng.choice(numbers), rng.choice(texts))


_LIVE = tuple(f'{{"{verb}": {version}}}' for verb in ("rollback", "promote", "canary", "withdraw") for version in (1, 2, 3))
_DRAWS: tuple[tuple[Callable[[random.Random], Act], float], ...] = (
    (_act("report", (1, 2, 4, 12)), 4.0),
    (_act("report without reference", (1, 3)), 1.0),
    (_act("correct", tuple(range(16))), 1.5),
    (_act("report again", tuple(range(16))), 1.0),
    (_act("serve", (20, 200)), 2.0),
    (_act("malformed", texts=_MALFORMED), 0.5),
    (_act("forge", (1, 2, 3, 4)), 0.5),
    (_typed("finetune-triggers", *['{"force": true}'] * 4, *['{"approve": true}'] * 2, '{"cancel": true}'), 3.0),
    (_typed("model-commands", *_LIVE, '{"rollback": true}', '{"promote": 0, "override": true, "reason": "it was better"}'), 1.5),
    (_act("promote the newest"), 1.0),
)
