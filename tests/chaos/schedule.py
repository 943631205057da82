"""What happens in a simulated history, drawn from a seed. Pure: a schedule is a value that can be cut down and run again."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from functions.wiring import READS
from shared.policy import CanaryPolicy, Policy
from tests.world import POLICY

TRAINER = "trainer"
ACTORS = (*READS, TRAINER)
"""Whoever writes: the functions and the trainer."""

SKEW_S = 300
"""A clock is at most so many seconds off, so two clocks differ by ten minutes at most."""

POLICY_HERE = POLICY.model_copy(
    update={
        "min_error_cases": 12,
        "holdout_share": 0.5,
        "min_speakers": 1,
        "max_attempts": 3,
        "preparing_lease_s": 300.0,
        "heartbeat_timeout_s": 300.0,
        "decline_backoff_s": 60.0,
    }
)
CANARY = CanaryPolicy(
    percent=10,
    session_s=0,
    min_duration_s=0,
    max_duration_s=900,
    min_utterances=1,
    on_deadline="promote",
    on_silence="rollback",
    guard_s=900,
)
POLICIES: Mapping[str, Policy] = {
    "everything by itself": POLICY_HERE,
    "with a canary": POLICY_HERE.model_copy(update={"canary": CANARY}),
    "by hand": POLICY_HERE.model_copy(
        update={"auto_approve_finetuning": False, "auto_deploy": False, "canary": CANARY.model_copy(update={"percent": None})}
    ),
    "one attempt": POLICY_HERE.model_copy(update={"max_attempts": 1, "canary": CANARY.model_copy(update={"on_silence": "promote"})}),
}

FAULTS: Mapping[str, str] = {
    "crash before": "dies before",
    "crash after": "dies after",
    "lost reply": "loses the reply to",
    "unavailable": "is answered 429 or 503 at",
    "conflict": "sends again, and meets 412 from its own first try, at",
    "interleave": "is overtaken by other messages before",
    "interleave write": "is overtaken by other messages right before",
    "finish": "sees no more that every trainer finishes right before",
}
"""One-shot faults by name: how a timeline tells of them."""


@dataclass(frozen=True)
class Fault:
    """Strikes once, at the nth write (`interleave`: nth call) of an actor that fits.

    Attributes:
        kind: of FAULTS.
        actor: of ACTORS; empty = whoever comes.
        point: what is written, as `tests.chaos.faulty.Point` names it; empty = anything.
        nth: counts from 1, from when the fault was armed; where messages are to overtake, only while some are due.
    """

    kind: str
    actor: str = ""
    point: str = ""
    nth: int = 1

    def __str__(self) -> str:
        number = "" if self.nth == 1 else f"{self.nth}. "
        return f"fault: {self.actor or 'somebody'} {FAULTS[self.kind]} the {number}{self.point or 'write'}"


@dataclass(frozen=True)
class Step:
    """One thing that the outside world does; the runner knows what each kind means.

    Attributes:
        kind: of `tests.chaos.acts.ACTS`.
        number: how many, which, or how long in seconds.
        text: a person's message, an actor's name, or a detail.
    """

    kind: str
    number: int = 0
    text: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, str(self.number) if self.number else "", self.text) if part)


@dataclass(frozen=True)
class Schedule:
    """A history to be run.

    Attributes:
        seed: from which it was drawn; the simulated ids and orders of delivery follow from it as well.
        policy: of POLICIES.
        steps: what happens, in order.
    """

    seed: int
    policy: str
    steps: tuple[Step | Fault, ...]

    def with_steps(self, steps: tuple[Step | Fault, ...]) -> "Schedule":
        """Return the same history with other steps."""
        return replace(self, steps=steps)


def generate(seed: int) -> Schedule:
    """Draw a history; the same seed gives the same one."""
    rng = random.Random(seed)
    steps: list[Step | Fault] = []
    if rng.random() < 0.3:
        steps += [_fault(rng) for _ in range(rng.randint(1, 3))]
    steps += _storm(rng) if rng.random() < 0.5 else [Step("report", 12)]
    steps.append(Step("deliver", rng.choice((10, 60))))
    for _ in range(rng.randint(4, 16)):
        draw = rng.choices([each for each, _ in _DRAWS], [weight for _, weight in _DRAWS])[0]
        steps.append(draw(rng))
        if rng.random() < 0.75:
            steps.append(Step("deliver", rng.choice((1, 3, 10, 60, 60))))
    policy = rng.choice(list(POLICIES))
    if rng.random() < 0.3:
        steps += rng.choice(_LAST_MOMENTS)
    return Schedule(seed, policy, tuple(steps))


def _storm(rng: random.Random) -> list[Step | Fault]:
    """Reports, requests and ticks come together, in any order, and handlers are overtaken in the middle of what they do."""
    storm: list[Step | Fault] = [Step("reorder", rng.randint(1, 1000))]
    for _ in range(rng.randint(4, 16)):
        kind = rng.choice(("interleave", "interleave write", "interleave write"))
        storm.append(Fault(kind, rng.choice(("", *READS)), nth=rng.randint(1, 60)))
    request = Step("type", text='finetune-triggers {"force": true}')
    return [*storm, Step("report", rng.choice((4, 12))), request, Step("report", 12), Step("tick", 5), request]


def _fault(rng: random.Random) -> Fault:
    kind = rng.choice([each for each in FAULTS if each != "finish"])  # a trainer must be at work for that: see _LAST_MOMENTS
    return Fault(kind, rng.choice(("", *ACTORS)), nth=rng.randint(1, 40 if kind.startswith("interleave") else 10))


def _typed(topic: str, *texts: str) -> Callable[[random.Random], Step]:
    return lambda rng: Step("type", text=f"{topic} {rng.choice(texts)}")


def _step(kind: str, numbers: tuple[int, ...] = (0,), texts: tuple[str, ...] = ("",)) -> Callable[[random.Random], Step]:
    return lambda rng: Step(kind, rng.choice(numbers), rng.choice(texts))


def _skew(rng: random.Random) -> Step:
    return Step("skew", rng.randint(-SKEW_S, SKEW_S), rng.choice(ACTORS))


_CANCEL = Step("type", text='finetune-triggers {"cancel": true}')
_BEGUN = (
    Step("report", 12),
    Step("deliver", 60),
    Step("type", text='finetune-triggers {"force": true}'),
    Step("deliver", 60),
    Step("begin"),
)
_LAST_MOMENTS: tuple[tuple[Step | Fault, ...], ...] = (
    # the alias has moved, nothing else has, and the cycle is cancelled before the message comes again
    (
        *_BEGUN,
        Step("work"),
        Fault("crash after", "deployer", "put registry/production.json"),
        Step("deliver", 60),
        _CANCEL,
        Step("deliver", 60),
    ),
    # a trainer that is taken for dead, or told to stop, writes its result before its machine is gone
    *(
        (*_BEGUN, silence, Fault("finish", actor, "put cycles/<n>/state.json (interrupted)"), Step("deliver", 60))
        for actor, silence in (("sweeper", Step("tick", 310)), ("launcher", Step("preempt notice")))
    ),
    (*_BEGUN, Fault("finish", "launcher", "put cycles/<n>/state.json (cancelled)"), _CANCEL, Step("deliver", 60)),
)
"""What takes several things at once; drawn apart, they hardly ever meet."""

_MOVES = tuple(f'{{"{verb}": {version}}}' for verb in ("rollback", "promote", "canary", "withdraw") for version in (1, 2))
_DRAWS: tuple[tuple[Callable[[random.Random], Step | Fault], float], ...] = (
    (_fault, 9.0),
    (_step("report", (1, 4, 12, 12)), 3.0),
    (_step("report without reference", (1, 3)), 1.0),
    (_step("correct", tuple(range(16))), 1.5),
    (_step("report again", tuple(range(16))), 1.0),
    (_step("serve", (20, 200)), 1.5),
    (_step("malformed", texts=("stt-errors", "finetune-triggers", "training-events", "model-commands")), 0.5),
    (_typed("finetune-triggers", '{"force": true}', '{"force": true}', '{"cancel": true}', '{"approve": true}'), 4.0),
    (_typed("model-commands", *_MOVES, '{"rollback": true}', '{"promote": 0, "override": true, "reason": "it was better"}'), 4.0),
    (_step("tick", (5, 60, 60, 310, 1000)), 5.0),
    (_step("work", (0, 0, 0, 1, 2)), 5.0),
    (_step("begin", (0, 1)), 1.5),
    (_step("beat", (0, 1)), 0.5),
    (_step("fail", texts=("store_unavailable", "internal", "bad_dataset")), 0.7),
    (_step("preempt", (0, 1)), 1.2),
    (_step("kill", (0, 1)), 1.0),
    (_step("hang", (0, 1)), 0.5),
    (_step("capacity", texts=("none", "none", "refused", "there")), 0.7),
    (_step("deliver again", tuple(range(9)), ("finetune-triggers", "training-events", "validation-events", "model-commands")), 3.0),
    (_step("reorder", tuple(range(6))), 1.5),
    (_step("partition", (30, 300, 900), ACTORS), 1.0),
    (_skew, 1.0),
)
