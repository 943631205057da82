"""The code asks for nothing that Terraform does not grant, and Terraform grants nothing that the code does not ask for.

The grants are those of `inventory.txt`, which a test of Terraform keeps true; the stories are those of the loop in memory.
"""

import json
from functools import cached_property

import pytest

from functions.collector.handler import Collector
from functions.deployer.handler import handler as deployer
from functions.launcher.handler import handler as launcher
from functions.launcher.opening import LaunchDeps
from functions.push import body_of, quarantine
from functions.runtime import Ports
from functions.sweeper.handler import handler as sweeper
from functions.validator.handler import handler as validator
from functions.wiring import READS
from shared import keys
from shared.audio_source import AudioSource
from shared.bus import Outgoing
from shared.cycle import Status
from shared.events import TOPICS, TrainingPreempted
from shared.objectstore import ObjectStore
from shared.policy import CanaryPolicy, ValidationPolicy
from shared.testing import builders
from tests.infra.grants import Forbidden, GrantedPublisher, GrantedStore
from tests.infra.inventory import GOLDEN, granted, publishers
from tests.world import BUCKET, POLICY, World

TEXT = GOLDEN.read_text(encoding="utf-8")
ACCESS = granted(TEXT)
PUBLISHES = publishers(TEXT)


class GrantedWorld(World):
    """The system in memory, with each function seeing store and bus through its own account."""

    @cached_property
    def stores(self) -> dict[str, GrantedStore]:
        return {account: GrantedStore(self.store, account, ACCESS[account]) for account in READS}

    @cached_property
    def buses(self) -> dict[str, GrantedPublisher]:
        return {account: GrantedPublisher(self.bus, account, PUBLISHES.get(account, frozenset())) for account in READS}

    def seen_by(self, account: str) -> Ports:
        return Ports(self.stores[account], self.buses[account], self.clock, self.ports.settings)

    def launching(self, account: str) -> LaunchDeps:
        def open_store(uri: str) -> ObjectStore:
            return self.stores[account] if uri == BUCKET else self.calls

        return LaunchDeps(self.seen_by(account), AudioSource(open_store, (builders.CALLS, f"{BUCKET}/corpora/")), self.trainers)

    def _wire(self) -> None:
        self.handlers = {
            "collector": Collector(self.seen_by("collector"), self.audio.check),
            "launcher": launcher(self.launching("launcher")),
            "validator": validator(self.seen_by("validator")),
            "deployer": deployer(self.seen_by("deployer")),
            "sweeper": sweeper(self.launching("sweeper")),
        }
        super()._wire()


@pytest.fixture(scope="module")
def used() -> set[tuple[str, str, str]]:
    """What the stories of this module asked for: (account, folder, verb)."""
    return set()


def settled(made: GrantedWorld, used: set[tuple[str, str, str]]) -> None:
    """Let a minute pass and remember what was asked for; nothing failed, whatever the reason."""
    made.tick()
    assert made.bus.failures == []
    used |= {(account, folder, verb) for account, store in made.stores.items() for folder, verb in store.used}
    used |= {(account, topic, "publish") for account, bus in made.buses.items() for topic in bus.used}


def world(**policy: object) -> GrantedWorld:
    made = GrantedWorld(POLICY.model_copy(update=policy))
    made.install_model()
    made.record_calls(range(400))
    return made


def report(made: World, first: int = 0) -> None:
    numbers = range(first, first + 60)
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), *(builders.error(n) for n in numbers))
    made.settle()


def test_errors_in_a_better_model_out_and_back(used: set[tuple[str, str, str]]) -> None:
    made = world()
    report(made)
    assert made.train(1) == "completed"
    made.settle()
    assert made.state(1).status == Status.DEPLOYED
    settled(made, used)
    made.type("model-commands", '{"rollback": true}')
    settled(made, used)
    assert made.production().stable == 0


def test_a_canary_proves_itself_and_its_fixed_errors_become_cases(used: set[tuple[str, str, str]]) -> None:
    made = world(canary=CanaryPolicy(percent=10, session_s=60, min_duration_s=1200, max_duration_s=7200, guard_s=600))
    made.add_suite(keys.FIXED_SUITE, range(380, 390))
    report(made)
    made.train(1)
    made.settle()
    for minute in range(60):
        now = made.clock.now()
        made.publish(*(builders.traffic(2 * minute + version, 200, version=version, at=now) for version in (0, 1)))
        made.publish(*(builders.error(1000 + 25 * minute + n, at=now, model_version=0, reference=None) for n in range(20)))
        made.publish(builders.error(1020 + 25 * minute, at=now, model_version=1, reference=None))
        settled(made, used)
    assert made.production().stable == 1
    assert any(message.attributes["type"] == "ErrorsResolved" for message in made.bus.published("model-events"))


def test_a_second_cycle_with_a_suite_after_a_preempted_attempt(used: set[tuple[str, str, str]]) -> None:
    made = world(validation=ValidationPolicy(suites_stand_for_traffic=False))
    made.add_suite("clean", range(300, 340))
    report(made)
    made.train(1)
    made.settle()
    report(made, 200)
    run = next(iter(made.trainers.runs.values()))
    assert made.begin(run) == ""
    made.publish(TrainingPreempted(event_id="gone", occurred_at=made.clock.now(), cycle=2, attempt=1))
    settled(made, used)
    made.train(2)
    settled(made, used)
    assert made.state(2).ended


def test_the_sweeper_carries_on_what_others_left(used: set[tuple[str, str, str]]) -> None:
    made = world()
    report(made)
    run = next(iter(made.trainers.runs.values()))
    assert made.begin(run) == ""
    made.trainers.delete(run.name)  # died without a word
    settled(made, used)
    assert made.state(1).attempt == 2
    made.bus.fail_publishes(1)
    made.train(1)  # nobody hears of its result
    deploy = made.handlers["deployer"]
    made.handlers["deployer"] = lambda _message: "died"
    settled(made, used)
    assert made.state(1).status == Status.ACCEPTED
    made.handlers["deployer"] = deploy
    made.clock.advance(POLICY.preparing_lease_s)
    settled(made, used)
    assert made.production().stable == 1


def test_a_verdict_that_claims_another_report_is_looked_up_among_what_was_forgotten(used: set[tuple[str, str, str]]) -> None:
    made = world(auto_deploy=False)
    report(made)
    made.train(1)
    made.settle()
    forged = json.dumps({"event_id": "x", "cycle": 1, "report_sha256": "a" * 64, "manifest_sha256": "b" * 64})
    made.bus.publish(Outgoing("validation-events", forged.encode(), {"type": "CandidateAccepted", "v": "1"}))
    settled(made, used)
    assert made.production().stable == 0


def test_commands_of_people(used: set[tuple[str, str, str]]) -> None:
    made = world(auto_approve_finetuning=False, auto_deploy=False)
    report(made)
    made.type("finetune-triggers", '{"approve": true}')
    made.settle()
    made.train(1)
    made.settle()
    made.type("model-commands", '{"promote": 1}')
    made.settle()
    assert made.production().stable == 1
    made.type("finetune-triggers", '{"force": true}')
    made.settle()
    made.type("finetune-triggers", '{"cancel": true}')
    settled(made, used)


@pytest.mark.parametrize("account", READS)
def test_every_function_may_set_a_malformed_message_aside(account: str, used: set[tuple[str, str, str]]) -> None:
    made = world()
    for _ in range(2):  # the second time it is there already
        quarantine(made.stores[account], function=account, reason="why", body=body_of(b"{"), now=made.clock.now())
    assert len(list(made.store.list("quarantine/"))) == 1
    used |= {(account, folder, verb) for folder, verb in made.stores[account].used}


def test_an_account_that_reaches_beyond_its_folders_is_forbidden() -> None:
    made = world()
    with pytest.raises(Forbidden, match="collector may not create and delete in registry/"):
        made.stores["collector"].put(keys.PRODUCTION, b"{}")
    with pytest.raises(Forbidden, match="validator may not publish to model-events"):
        made.buses["validator"].publish(Outgoing("model-events", b"{}"))


def test_nothing_is_granted_that_no_story_uses(used: set[tuple[str, str, str]]) -> None:
    offered = {(account, folder, verb) for account in READS for folder, verbs in ACCESS[account].items() for verb in verbs}
    offered |= {(account, topic, "publish") for account in READS for topic in PUBLISHES.get(account, ())}
    assert offered - used == set()


def test_every_topic_has_its_publishers() -> None:
    assert {topic for topics in PUBLISHES.values() for topic in topics} == set(TOPICS) - {"stt-errors", "ticks"}
