"""The whole loop on in-memory ports: each test reads as a history."""

import json

import pytest

from functions.launcher.trainers import NoCapacity
from shared import keys, ledger
from shared.bus import Outgoing
from shared.cas import find
from shared.cycle import Status
from shared.events import TrainingPreempted
from shared.head import read_head
from shared.ids import derived_event_id
from shared.policy import ValidationPolicy
from shared.testing import builders
from tests.world import POLICY, World, right, wrong

CALLS = range(60)


def world(**policy: object) -> World:
    made = World(POLICY.model_copy(update=policy))
    made.install_model()
    made.record_calls(range(200))
    return made


def report_errors(made: World, numbers: range = CALLS) -> None:
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), *(builders.error(n) for n in numbers))
    made.settle()


def test_errors_in_a_better_model_out() -> None:
    made = world()
    report_errors(made)
    assert made.state(1).status == Status.PREPARING
    assert made.train(1) == "completed"
    made.settle()
    assert made.state(1).status == Status.DEPLOYED
    assert made.production().stable == 1
    assert made.production().previous == (0,)
    assert [m.attributes["type"] for m in made.bus.published("model-events")][-1] == "ModelDeployed"
    assert made.bus.failures == []
    assert made.quarantined == []


def test_a_split_key_that_is_there_is_only_read() -> None:
    made = world()
    written: list[str] = []
    made.store.before = lambda operation, key: written.append(key) if operation == "put" else None
    report_errors(made)
    assert made.state(1).status == Status.PREPARING
    assert keys.SPLIT_KEY not in written


def test_a_model_that_is_no_better_is_not_deployed() -> None:
    made = world()
    report_errors(made)
    made.train(1, candidate=wrong)
    made.settle()
    assert made.state(1).status in {Status.REJECTED, Status.INCONCLUSIVE}
    assert made.production().stable == 0


def test_a_candidate_that_hurts_the_unreported_traffic_is_rejected() -> None:
    made = world()
    report_errors(made)
    made.train(1, base=wrong, candidate=lambda clip: right(clip) if clip.stratum == "errors" else "nothing of this")
    made.settle()
    assert made.state(1).status == Status.REJECTED
    assert made.production().stable == 0


def test_without_a_stable_model_the_launcher_declines_and_names_the_command() -> None:
    made = World()
    made.record_calls(CALLS)
    report_errors(made)
    assert find(made.store, keys.state(1)) is None
    assert any("retune models import" in outcome for outcome in made.outcomes)


def test_the_same_message_five_times_and_out_of_order_counts_once() -> None:
    made = world()
    for _ in range(5):
        made.publish(*(builders.error(n) for n in reversed(range(9))))
    made.settle()
    assert find(made.store, keys.state(1)) is None
    assert len(ledger.read_events(made.store, 1)) == 9


def test_below_the_threshold_nothing_starts_and_force_starts_it() -> None:
    made = world()
    report_errors(made, range(5))
    assert find(made.store, keys.state(1)) is None
    made.type("finetune-triggers", '{"force": true, "by": "ana"}')
    made.settle()
    assert made.state(1).forced
    assert made.state(1).history[0].by == "ana (claimed)"


def test_force_with_nothing_to_train_on_is_declined_with_the_reason() -> None:
    made = world()
    made.publish(*(builders.error(n, reference=None) for n in range(5)))
    made.type("finetune-triggers", '{"force": true}')
    made.settle()
    assert find(made.store, keys.state(1)) is None
    assert any("no clip can be trained on" in outcome for outcome in made.outcomes)


def test_a_forced_request_delivered_twice_with_a_finished_cycle_in_between_opens_one_cycle() -> None:
    made = world()
    report_errors(made, range(9))
    made.type("finetune-triggers", '{"force": true}')
    made.settle()
    made.train(1, candidate=wrong)
    made.settle()
    assert made.state(1).ended
    forced = made.bus.published("finetune-triggers")[0]
    made.bus.duplicate("launcher-finetune-triggers", forced.message_id)
    report_errors(made, range(60, 69))
    made.settle()
    assert find(made.store, keys.state(2)) is None


def test_approval_is_awaited_while_collecting_goes_on() -> None:
    made = world(auto_approve_finetuning=False)
    report_errors(made)
    assert made.state(1).status == Status.AWAITING_APPROVAL
    assert read_head(made.store) == 1
    made.publish(*(builders.error(n) for n in range(60, 70)))
    made.type("finetune-triggers", '{"approve": true, "by": "ana"}')
    made.settle()
    assert made.state(1).status == Status.PREPARING
    assert read_head(made.store) == 2
    assert made.trainers.started == ["retune-trainer-000001-1"]


def test_a_forced_request_starts_the_cycle_that_awaits_approval_and_a_crossing_does_not() -> None:
    made = world(auto_approve_finetuning=False)
    report_errors(made)
    (crossing,) = {message.message_id for message in made.bus.published("finetune-triggers")}
    made.bus.duplicate("launcher-finetune-triggers", crossing)
    made.settle()
    assert made.state(1).status == Status.AWAITING_APPROVAL
    made.type("finetune-triggers", '{"force": true, "by": "ana", "reason": "the fair begins"}')
    made.settle()
    state = made.state(1)
    assert (state.status, state.forced) == (Status.PREPARING, True)
    assert (state.history[-1].by, state.history[-1].reason) == ("ana (claimed)", "the fair begins")
    assert made.trainers.started == ["retune-trainer-000001-1"]


def test_a_cancelled_cycles_errors_are_carried_into_the_next() -> None:
    made = world(auto_approve_finetuning=False)
    report_errors(made)
    made.type("finetune-triggers", '{"cancel": true}')
    made.settle()
    assert made.state(1).status == Status.CANCELLED
    assert read_head(made.store) == 2
    report_errors(made, range(60, 120))
    made.type("finetune-triggers", '{"approve": true}')
    made.settle()
    rows = made.store.get(keys.dataset(2)).data.decode()
    assert '"event_id":"e3"' in rows
    assert '"event_id":"e63"' in rows


def test_two_crossings_at_once_open_one_cycle() -> None:
    made = world()
    report_errors(made)
    crossings = made.bus.published("finetune-triggers")
    for crossing in crossings:
        made.bus.duplicate("launcher-finetune-triggers", crossing.message_id)
    made.settle()
    assert made.trainers.started == ["retune-trainer-000001-1"]
    assert find(made.store, keys.state(2)) is None


def test_a_killed_trainer_is_relaunched_until_its_attempts_are_used_up() -> None:
    made = world(max_attempts=2)
    report_errors(made)
    (run,) = made.trainers.runs.values()
    assert made.begin(run) == ""
    made.trainers.runs.clear()  # killed
    made.tick()
    assert made.state(1).attempt == 2
    assert made.trainers.list_names() == ["retune-trainer-000001-2"]
    assert made.work(run) == "attempt 2 is at work, not 1"
    (second,) = made.trainers.runs.values()
    made.begin(second)
    made.trainers.runs.clear()
    made.tick()
    assert made.state(1).status == Status.FAILED
    assert "2 attempts of 2 are used up" in made.state(1).reason


def test_a_silent_trainer_is_interrupted_although_its_machine_lives() -> None:
    made = world()
    report_errors(made)
    (run,) = made.trainers.runs.values()
    made.begin(run)
    made.tick(POLICY.heartbeat_timeout_s + 1)
    assert made.state(1).attempt == 2
    assert made.trainers.list_names() == ["retune-trainer-000001-2"]


def test_a_result_whose_event_was_lost_is_announced_by_the_sweeper() -> None:
    made = world()
    report_errors(made)
    made.bus.fail_publishes(1)
    assert made.train(1) == "completed"
    made.settle()
    assert made.state(1).status == Status.TRAINING
    made.tick()
    assert made.production().stable == 1


@pytest.mark.parametrize(("reason", "status"), [("bad_base_model", Status.FAILED), ("internal", Status.PREPARING)])
def test_a_failed_attempt_is_tried_again_only_where_that_can_help(reason: str, status: Status) -> None:
    made = world()
    report_errors(made)
    made.fail(1, reason)
    made.settle()
    assert made.state(1).status == status


def test_a_preemption_notice_for_attempt_1_while_attempt_2_works_is_ignored() -> None:
    made = world()
    report_errors(made)
    made.fail(1)
    made.settle()
    assert made.state(1).attempt == 2
    notice = TrainingPreempted(event_id=derived_event_id("x", "y", "z"), occurred_at=made.clock.now(), cycle=1, attempt=1)
    made.publish(notice)
    made.settle()
    assert made.state(1).attempt == 2
    assert made.state(1).status == Status.PREPARING


def test_a_dead_launcher_is_followed_by_the_sweeper() -> None:
    made = world()
    crashes = iter([True])

    def crash_once(operation: str, key: str) -> None:
        if operation == "put" and key == keys.dataset(1) and next(crashes, False):
            raise RuntimeError("killed")

    made.store.before = crash_once
    made.publish(*(builders.error(n) for n in CALLS))
    made.settle()
    assert made.state(1).status == Status.PREPARING
    assert made.trainers.started == []
    made.tick(POLICY.preparing_lease_s + 1)
    assert made.trainers.started == ["retune-trainer-000001-1"]


def test_no_capacity_anywhere_is_waited_for() -> None:
    made = world()
    made.trainers.answer = NoCapacity("no L4 in 9 zones")
    report_errors(made)
    assert made.state(1).status == Status.WAITING_FOR_CAPACITY
    made.trainers.answer = None
    made.tick()
    assert made.state(1).status == Status.PREPARING
    assert made.trainers.started == ["retune-trainer-000001-1"]


def test_auto_deploy_off_waits_for_a_persons_promote() -> None:
    made = world(auto_deploy=False)
    report_errors(made)
    made.train(1)
    made.settle()
    assert made.state(1).status == Status.ACCEPTED
    assert made.production().stable == 0
    made.type("model-commands", '{"promote": 1, "by": "ana", "reason": "looks good"}')
    made.settle()
    assert made.production().stable == 1
    assert made.production().last is not None
    assert made.production().last.by == "ana (claimed)"  # type: ignore[union-attr]


def test_a_rollback_goes_to_the_last_good_version_and_a_second_delivery_changes_nothing() -> None:
    made = world()
    report_errors(made)
    made.train(1)
    made.settle()
    made.type("model-commands", '{"rollback": true, "by": "ana"}')
    made.settle()
    made.bus.duplicate("deployer-model-commands", made.bus.published("model-commands")[-1].message_id)
    made.settle()
    assert made.production().stable == 0
    assert made.production().withdrawn == (1,)
    assert made.state(1).status == Status.ROLLED_BACK


def test_a_promotion_delivered_again_after_its_rollback_stays_rolled_back() -> None:
    made = world()
    report_errors(made)
    made.train(1)
    made.settle()
    made.type("model-commands", '{"rollback": 1}')
    made.settle()
    made.bus.duplicate("deployer-validation-events", made.bus.published("validation-events")[0].message_id)
    made.settle()
    assert made.production().stable == 0


def test_a_rollback_of_a_version_that_is_not_live_is_refused() -> None:
    made = world()
    made.type("model-commands", '{"rollback": 7}')
    made.settle()
    assert any("v7 is not live" in outcome for outcome in made.outcomes)


def test_a_forged_acceptance_deploys_nothing() -> None:
    made = world()
    report_errors(made)
    made.train(1, candidate=wrong)
    made.settle()
    forged = json.dumps({"event_id": "x", "cycle": 1, "report_sha256": "a" * 64, "manifest_sha256": "b" * 64})
    made.bus.publish(Outgoing("validation-events", forged.encode(), {"type": "CandidateAccepted", "v": "1"}))
    made.settle()
    assert made.production().stable == 0
    assert any("forged or stale" in outcome for outcome in made.outcomes)


def test_evidence_against_a_champion_that_changed_is_stale() -> None:
    made = world(auto_deploy=False)
    report_errors(made)
    made.train(1)
    made.settle()
    made.write_model(90, base=None, learned=())
    made.type("model-commands", '{"promote": 90, "override": true, "reason": "imported"}')
    made.settle()
    made.type("model-commands", '{"promote": 1}')
    made.settle()
    assert made.production().stable == 90
    assert made.state(1).status == Status.INCONCLUSIVE
    assert "validated against v0, but v90 is stable now" in made.state(1).reason


def test_an_override_needs_a_reason() -> None:
    made = world()
    made.write_model(9, base=None, learned=())
    made.type("model-commands", '{"promote": 9, "override": true}')
    made.settle()
    assert made.production().stable == 0
    assert any("needs a reason" in outcome for outcome in made.outcomes)


def test_a_second_cycle_does_not_train_again_on_what_the_stable_model_has_learned() -> None:
    made = world()
    report_errors(made)
    made.train(1)
    made.settle()
    report_errors(made, range(60, 120))
    rows = made.store.get(keys.dataset(2)).data.decode()
    first = made.store.get(keys.dataset(1)).data.decode()
    trained = [line.split('"')[3] for line in first.splitlines() if '"split":"train"' in line and '"kind":"error"' in line]
    assert trained
    assert not any(f'"event_id":"{event_id}"' in rows for event_id in trained)


def test_a_named_suite_that_gets_worse_rejects() -> None:
    made = World(POLICY.model_copy(update={"validation": ValidationPolicy.model_validate({"suites": {"clean": {"margin": 0.02}}})}))
    made.install_model()
    made.record_calls(range(400))
    made.add_suite("clean", range(300, 340))
    report_errors(made)
    made.train(
        1, base=lambda c: right(c) if c.stratum == "suite" else wrong(c), candidate=lambda c: wrong(c) if c.stratum == "suite" else right(c)
    )
    made.settle()
    assert made.state(1).status == Status.REJECTED


def clips_of(made: World, cycle: int, name: str) -> set[str]:
    lines = made.store.get(keys.clips(cycle, name)).data.decode().splitlines()
    return {json.loads(line)["utterance_id"] for line in lines}


def test_what_was_held_out_without_a_speaker_is_not_trained_on_when_one_is_told_later() -> None:
    made = world()
    made.publish(*(builders.sample(n, sample_rate=1.0, speaker_id=None) for n in range(100, 130)))
    report_errors(made)
    made.train(1)
    made.settle()
    held_out = clips_of(made, 1, "holdout") & {f"u{n}" for n in range(100, 130)}
    assert held_out
    made.publish(*(builders.error(n) for n in range(100, 130)))
    report_errors(made, range(60, 100))
    assert held_out <= clips_of(made, 2, "holdout")
    assert not clips_of(made, 2, "train-errors") & clips_of(made, 2, "holdout")
    assert not clips_of(made, 2, "dev-errors") & clips_of(made, 2, "holdout")
