"""What the launcher looks at before it opens a cycle, read from a store: recordings, costs, the holdout to come, earlier measurements."""

import json
from datetime import timedelta
from itertools import pairwise

import pytest

from functions.crossing import find_declined
from functions.launcher.counting import exact_trigger, read_measured
from functions.launcher.drafting import recordings_of
from functions.launcher.spending import read_costs
from functions.states import newest_states
from shared import keys
from shared.budget import BudgetPolicy
from shared.cas import find
from shared.cycle import Status
from shared.dataset import Row
from shared.documents import document_bytes
from shared.head import read_head
from shared.policy import Policy, TriggerDecision
from shared.testing import builders
from shared.testing.clock import START
from shared.training import Heartbeat
from tests.world import POLICY, World


def world(policy: Policy = POLICY) -> World:
    made = World(policy)
    made.install_model()
    made.record_calls(range(200))
    return made


def with_budget(**limits: float) -> Policy:
    return POLICY.model_copy(update={"budget": BudgetPolicy.model_validate(limits)})


def report(made: World, numbers: range) -> None:
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), *(builders.error(n) for n in numbers))
    made.settle()


def decide(made: World, *, forced: bool = False) -> TriggerDecision:
    return exact_trigger(made.ports, read_head(made.store), newest_states(made.ports), forced=forced)


def fail_after(made: World, seconds: float) -> None:
    """Let a forced cycle train so long and fail for good."""
    made.type("finetune-triggers", '{"force": true}')
    made.settle()
    cycle = read_head(made.store) - 1
    run = next(iter(made.trainers.runs.values()))
    assert made.begin(run) == ""
    made.clock.advance(seconds)
    made.fail(cycle, "bad_dataset")
    made.settle()
    assert made.state(cycle).status == Status.FAILED


def row(number: int, *, uri: int | None = None, known: bool = False) -> Row:
    fields = {"event_id": f"e{number}", "kind": "error", "origin": "fresh", "occurred_at": START, "utterance_id": f"u{number}"}
    audio = builders.pin(uri or number) if known else None
    return Row.model_validate({**fields, "audio_uri": f"{builders.CALLS}/u{uri or number}.wav", "audio": audio})


def test_recordings_are_told_apart_by_digest_where_it_is_known_and_else_by_address() -> None:
    assert len(recordings_of([row(1), row(2)])) == 2
    assert len(recordings_of([row(1), row(2, uri=1)])) == 1
    assert len(recordings_of([row(1, known=True), row(2, uri=1)])) == 1, "the address of known audio is that audio"
    renamed = row(2, known=True).model_copy(update={"audio": builders.pin(1)})
    assert len(recordings_of([row(1, known=True), renamed])) == 1


def test_a_hundred_reports_of_one_recording_start_nothing() -> None:
    made = world()
    same = f"{builders.CALLS}/u1.wav"
    made.publish(*(builders.error(n, audio_uri=same) for n in range(60)))
    made.settle()
    assert find(made.store, keys.state(1)) is None
    assert "1 different recordings, at least 10 wanted" in decide(made).held


def test_a_failed_run_costs_what_it_trained_and_the_next_is_held_forced_or_not() -> None:
    made = world(with_budget(max_gpu_hours=3))
    report(made, range(30))
    fail_after(made, 7200)
    assert [(cost.cycle, cost.gpu_s) for cost in read_costs(made.ports, 2)] == [(1, 7200)]
    report(made, range(30, 50))
    made.type("finetune-triggers", '{"force": true}')
    made.settle()
    assert find(made.store, keys.state(2)) is None
    declined = find_declined(made.ports, 2)
    assert declined is not None
    (reason,) = declined.decision.held
    assert reason.startswith("budget of 3.00 GPU-hours in 30 days: 2.00 spent, a cycle takes about 2.00; the window frees enough on ")
    assert declined.decision.not_before == made.clock.now() + timedelta(days=30)
    assert declined.not_before == made.clock.now() + timedelta(hours=1), "a changed policy is noticed within the hour"
    made.clock.advance(30 * 86400)
    made.type("finetune-triggers", '{"force": true}')
    made.settle()
    assert made.state(2).status == Status.PREPARING


def test_a_silent_trainer_cost_no_more_than_to_its_last_sign_of_life() -> None:
    made = world()
    report(made, range(30))
    beat = Heartbeat(cycle=1, attempt=1, at=made.clock.now() + timedelta(seconds=600), phase="training")
    made.store.put(keys.heartbeat(1), document_bytes(beat))
    fail_after(made, 7200)
    assert [cost.gpu_s for cost in read_costs(made.ports, 2)] == [600]


def test_an_imported_model_cost_nothing() -> None:
    assert read_costs(world().ports, 1) == ()


def test_the_next_holdout_is_what_accumulated_and_what_of_the_new_rows_will_join_it() -> None:
    made = world(POLICY.model_copy(update={"min_error_cases": 1000}))
    report(made, range(30))
    foreseen = decide(made).metrics
    made.type("finetune-triggers", '{"force": true}')
    made.settle()
    stored = find(made.store, keys.clips(1, "holdout"))
    assert stored is not None
    clips = len(stored.data.splitlines())
    assert clips > 0
    assert (foreseen["holdout_utterances"], foreseen["holdout_speakers"]) == (clips, clips), "each speaks once"
    assert decide(made).metrics["holdout_utterances"] == clips, "nothing new was collected"
    made.publish(*(builders.error(n, speaker_id=None) for n in range(50, 60)))
    made.settle()
    assert decide(made).metrics["holdout_utterances"] == clips + 2, "a fifth of ten whose speaker nobody knows"


def test_verdicts_measure_the_spread_and_after_two_of_them_a_small_holdout_holds() -> None:
    made = world(POLICY.model_copy(update={"min_detectable_gain": 0.01}))
    for cycle in (1, 2):
        report(made, range(60) if cycle == 1 else range(60, 130))
        assert made.state(cycle).status == Status.PREPARING, "a prior is advice: the threshold fires"
        assert "advice until 2 cycles have been measured" in made.state(cycle).reason
        made.train(cycle, candidate=lambda clip: clip.reference if clip.utterance_id.endswith(("1", "2", "3")) else "call back")
        made.settle()
    measured = read_measured(made.ports, 3, made.production().stable)
    assert len(measured) == 2
    assert all(each.sd_d > 0 and each.clusters > 1 for each in measured)
    decision = decide(made)
    assert any("to show 1% it takes" in reason for reason in decision.held)
    assert decide(made, forced=True).notes[0].startswith("skipped by force: ")


@pytest.mark.parametrize("forced", [False, True])
def test_what_the_next_holdout_can_show_is_explained(forced: bool) -> None:
    made = world()
    report(made, range(20))
    decision = decide(made, forced=forced)
    assert decision.notes[0].startswith("advice until 2 cycles have been measured: a holdout of ")
    assert decision.metrics["cycles_measured"] == 0


def test_cycles_that_were_cancelled_one_after_another_each_cost_the_exact_count_the_same() -> None:
    made = world(
        POLICY.model_copy(
            update={"min_error_cases": 3, "auto_approve_finetuning": False, "min_audio": 1, "dev_share": 1e-6, "holdout_share": 1e-6}
        )
    )
    costs = []
    calls: list[str] = []
    made.store.before = lambda operation, _key: calls.append(operation)
    for cycle in range(1, 9):
        made.publish(*(builders.error(10 * cycle + n, at=made.clock.now()) for n in range(3)))
        made.settle()
        assert made.state(cycle).status == Status.AWAITING_APPROVAL
        calls.clear()
        decide(made)
        costs.append(len(calls))
        made.type("finetune-triggers", json.dumps({"cancel": cycle}))
        made.settle()
    further = {later - earlier for earlier, later in pairwise(costs[1:])}
    assert len(further) == 1, costs
