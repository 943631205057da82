"""Each command on in-memory ports: what it says, and its exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import infra.acts_cli
import infra.cli
import infra.dlq.cli
import infra.explain.cli
import infra.models.cli
from functions.dashboard.overview import read_overview
from functions.wiring import READS, dead_letter_topic, subscription_name
from infra.finetune import run, with_shipped_model
from infra.local.baseline import DEMO_MARK
from shared import keys
from shared.budget import BudgetPolicy
from shared.bus import Outgoing
from shared.documents import document_bytes
from shared.events import FINETUNE_TRIGGERS, STT_ERRORS
from shared.messages import ORIGINAL_ID_ATTRIBUTE
from shared.policy import CanaryPolicy
from shared.testing import builders
from tests.command_line import Retune, command_line, last_line
from tests.console_world import console_world
from tests.world import POLICY, World, right
from trainer.finetune.options import DEFAULT_MODEL, parse_options


@pytest.fixture
def world() -> World:
    made = World()
    made.install_model()
    made.record_calls(range(200))
    return made


@pytest.fixture
def retune(world: World, monkeypatch: pytest.MonkeyPatch) -> Retune:
    return command_line(world, monkeypatch, answered=True)


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Retune:
    """The command line in a shell without any of our variables."""
    for name in ("RETUNE_BUCKET", "GOOGLE_CLOUD_PROJECT", "RETUNE_AUDIO_PREFIXES", "STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments, **env: CliRunner().invoke(infra.cli.app, list(arguments), env=env)


def report(world: World, count: int, **policy_free: Any) -> None:
    world.publish(*(builders.error(n, **policy_free) for n in range(count)))
    world.settle()


# trigger, approve, cancel


def test_a_trigger_is_answered_with_the_state_that_it_opened(world: World, retune: Retune) -> None:
    report(world, 5)
    answered = retune("trigger", "--by", "ana", "--reason", "the numbers are wrong")
    assert answered.exit_code == 0
    assert answered.stdout.startswith("cycle 1 is preparing: forced by a person; advice until 2 cycles have been measured: a holdout of ")
    assert world.state(1).history[0].by == "ana (claimed)"


def test_a_trigger_with_nothing_to_train_on_is_refused_with_the_reason(retune: Retune) -> None:
    answered = retune("trigger", "--json")
    assert answered.exit_code == 1
    document = json.loads(answered.stdout)
    assert document["outcome"] == "refused"
    assert "no clip can be trained on" in document["text"]
    assert len(document["event_id"]) == 32


def test_a_trigger_while_a_cycle_runs_is_refused(world: World, retune: Retune) -> None:
    report(world, 60)
    answered = retune("trigger")
    assert (answered.exit_code, answered.stdout) == (1, "cycle 2 declined: cycle 1 is preparing: one cycle at a time\n")


def test_who_does_not_wait_learns_only_that_it_was_published(world: World, retune: Retune) -> None:
    answered = retune("trigger", "--no-wait")
    assert answered.exit_code == 0
    assert answered.stdout.startswith("published to finetune-triggers as message ")


def test_no_answer_in_time_is_exit_code_4(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = command_line(world, monkeypatch)("trigger", "--timeout", "0.1")
    assert answered.exit_code == 4
    assert "no answer within 0.1 s" in answered.stderr


def test_approve_lets_the_waiting_cycle_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(POLICY.model_copy(update={"auto_approve_finetuning": False}))
    world.install_model()
    world.record_calls(range(60))
    retune = command_line(world, monkeypatch, answered=True)
    assert (retune("approve").exit_code, retune("approve").stdout) == (1, "approve: no cycle awaits approval\n")
    report(world, 60)
    assert "retune approve" in retune("status").stdout
    approved = retune("approve", "--reason", "go")
    assert (approved.exit_code, approved.stdout) == (0, "cycle 1 is preparing: go\n")


def test_cancel_ends_the_running_cycle_and_has_nothing_to_do_twice(world: World, retune: Retune) -> None:
    report(world, 60)
    cancelled = retune("cancel")
    assert (cancelled.exit_code, cancelled.stdout) == (0, "cycle 1 is cancelled: cancelled by a person\n")
    assert retune("cancel").exit_code == 1
    again = retune("cancel", "1")
    assert (again.exit_code, again.stdout) == (1, "cancel: cycle 1 is cancelled: nothing to cancel\n")
    unknown = retune("cancel", "7")
    assert unknown.exit_code == 1
    assert "cycle 7: expected one that was opened" in unknown.stderr


# promote, rollback


def test_an_accepted_version_is_promoted_and_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(POLICY.model_copy(update={"auto_deploy": False}))
    world.install_model()
    world.record_calls(range(200))
    world.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)))
    report(world, 60)
    world.train(1, candidate=right)
    world.settle()
    assert world.production().stable == 0
    retune = command_line(world, monkeypatch, answered=True)
    promoted = retune("promote", "v1")
    assert (promoted.exit_code, last_line(promoted)) == (0, "promote v1: v1 is stable")
    assert retune("promote", "v1").stdout == "v1 is stable already\n"
    back = retune("rollback", "--reason", "customers complain")
    assert (back.exit_code, last_line(back)) == (0, "rollback v1: v0 is stable")
    refused = retune("promote", "1")
    assert (refused.exit_code, refused.stdout) == (1, "v1: expected an accepted cycle, found it rolled_back\n")
    assert retune("rollback").exit_code == 1


def test_a_canary_begins_by_command_and_status_tells_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(POLICY.model_copy(update={"auto_deploy": False, "canary": CanaryPolicy(session_s=0)}))
    world.install_model()
    world.record_calls(range(200))
    world.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)))
    report(world, 60)
    world.train(1, candidate=right)
    world.settle()
    retune = command_line(world, monkeypatch, answered=True)
    assert retune("canary", "v9").exit_code == 1
    begun = retune("canary", "v1", "--percent", "25")
    assert (begun.exit_code, last_line(begun)) == (0, "canary v1 for 25% of the sessions: v0 is stable")
    world.tick()
    world.publish(builders.traffic(1, 90, version=0), builders.traffic(2, 30, version=1), builders.error(900, model_version=1))
    world.settle()
    world.tick()
    shown = " ".join(retune("status").stdout.split())
    assert "Stable: v0, canary: v1 for 25% of the sessions" in shown
    assert (
        "v1 1 errors in 30 utterances (3.33%), v0 0 errors in 90 utterances (0.00%); at least 200 utterances of each and 10 looks wanted"
        in shown
    )
    document = json.loads(retune("status", "--json").stdout)
    assert [watch["subject"]["kind"] for watch in document["watches"]] == ["canary"]
    assert last_line(retune("canary", "v1", "--percent", "0")) == "canary v1 for 0% of the sessions: v0 is stable"
    assert "canary: v1 in shadow: it transcribes beside and serves nobody" in " ".join(retune("status").stdout.split())


def test_a_version_without_evidence_needs_an_override_and_a_reason(world: World, retune: Retune) -> None:
    world.write_model(5, base=None, learned=())
    refused = retune("promote", "v5")
    assert refused.exit_code == 1
    assert "expected verdicts/000005/report.json" in refused.stdout
    assert retune("promote", "v5", "--override").exit_code == 2
    assert retune("promote", "v5", "--override", "--reason", "I listened").stdout == "promote v5: v5 is stable\n"


def test_what_is_no_version_is_wrong_usage(retune: Retune) -> None:
    assert retune("promote", "latest").exit_code == 2


# status, explain


def test_status_shows_what_is_collected_and_what_serves(world: World, retune: Retune) -> None:
    report(world, 3)
    shown = retune("status")
    assert shown.exit_code == 0
    assert "Stable: v0" in shown.stdout
    assert "cycle 1 with 3 errors (of 60 wanted)" in shown.stdout
    document = json.loads(retune("status", "--json").stdout)
    assert (document["collecting"], document["collected"]["errors"], document["running"]) == (1, 3, None)
    assert document["production"]["stable"] == 0


def test_status_shows_the_running_cycle_with_its_history(world: World, retune: Retune) -> None:
    report(world, 60)
    document = json.loads(retune("status", "--json").stdout)
    assert document["running"]["state"]["status"] == "preparing"
    assert [entry["cause"][:16] for entry in document["running"]["state"]["history"]] == ["ThresholdCrossed"]


def test_status_and_explain_tell_what_a_running_cycle_has_spent(world: World, retune: Retune) -> None:
    budget = BudgetPolicy(max_usd=20, usd_per_gpu_hour=2)
    world.deploy(world.ports.settings.policy.model_copy(update={"budget": budget}))
    report(world, 60)
    (run,) = world.trainers.runs.values()
    assert world.begin(run) == ""
    world.clock.advance(5400)
    told = "budget of 20.00 USD in 30 days: 3.00 spent, 3.00 of it by this cycle"
    assert told in " ".join(retune("status").stdout.split())
    (spend,) = json.loads(retune("status", "--json").stdout)["spends"]
    assert (spend["spent"], spend["limit"], spend["field"]) == (3.0, 20.0, "max_usd")
    assert json.loads(retune("explain", "--json").stdout)["decision"]["metrics"]["usd_spent"] == 3.0


def test_status_tells_loss_dev_wer_time_left_and_cost_as_the_console_does(monkeypatch: pytest.MonkeyPatch) -> None:
    training = console_world()
    retune = command_line(training, monkeypatch)
    answered = retune("status")
    shown = " ".join(answered.stdout.split())
    assert "loss 0.712; dev WER 36.3% on errors, 7.4% on replay after epoch 7; about 5.2 min left in this phase" in shown
    assert "so far 7 min of machine time, 0.17 USD" in shown
    run = json.loads(retune("status", "--json").stdout)["run"]
    assert run == json.loads(read_overview(training.ports).status.model_dump_json())["run"]
    assert (run["progress"]["left_s"], run["progress"]["loss"], run["progress"]["phase"]) == (312.0, 0.712, "training")

    state = training.state(5)
    training.store.put(keys.state(5), document_bytes(state.model_copy(update={"attempt": 2})))
    again = retune("status").stdout
    assert "loss" not in again, "what an earlier attempt told is no news of this one"


def test_explain_counts_exactly_and_says_no(world: World, retune: Retune) -> None:
    report(world, 5)
    report(world, 5)
    explained = retune("explain")
    assert explained.exit_code == 1
    assert "Cycle 1 would not start now." in explained.stdout
    assert "against: no threshold is reached" in explained.stdout
    document = json.loads(retune("explain", "--json").stdout)
    assert document["decision"]["metrics"]["errors"] == 5


def test_explain_tells_what_a_force_would_do_and_leaves_no_trace(world: World, retune: Retune) -> None:
    report(world, 5)
    before = [(info.key, info.generation) for info in world.store.list("")]
    explained = retune("explain", "--force")
    assert (explained.exit_code, "for: forced by a person" in explained.stdout) == (0, True)
    assert "note: advice until 2 cycles have been measured: a holdout of" in explained.stdout
    assert [(info.key, info.generation) for info in world.store.list("")] == before


def test_explain_shows_the_last_refusal(world: World, retune: Retune) -> None:
    retune("trigger")
    assert "Last declined" in retune("explain").stdout


# models


def test_models_are_listed_with_their_roles(world: World, retune: Retune) -> None:
    world.write_model(5, base=0, learned=(5,))
    listed = json.loads(retune("models", "list", "--json").stdout)
    assert [(view["version"], view["role"], view["manifest"]["origin"]) for view in listed] == [
        (0, "stable", "imported"),
        (5, "", "trained"),
    ]
    assert "v0" in retune("models", "list").stdout
    assert "has learned 5" in retune("models", "show", "v5").stdout
    missing = retune("models", "show", "v6")
    assert (missing.exit_code, "expected gs://retune-test/models/000006/manifest.json" in missing.stderr) == (1, True)


# dead letters


@pytest.fixture
def dead(world: World) -> Callable[[str, str, dict[str, str]], str]:
    """Publish a dead letter of the launcher or collector; return its message id."""
    names = [subscription_name(function, topic) for function, topics in READS.items() for topic in topics]
    for name in names:
        world.bus.create_topic(dead_letter_topic(name))
        world.bus.create_subscription(dead_letter_topic(name), dead_letter_topic(name), min_backoff_s=0.0, max_backoff_s=0.0)

    def publish(subscription: str, text: str, attributes: dict[str, str]) -> str:
        source = {"CloudPubSubDeadLetterSourceDeliveryCount": "100", "CloudPubSubDeadLetterSourceSubscription": subscription}
        return world.bus.publish(Outgoing(dead_letter_topic(subscription), text.encode(), {**attributes, **source}))

    return publish


def test_dead_letters_are_listed_and_stay(retune: Retune, dead: Callable[..., str]) -> None:
    message_id = dead("launcher-finetune-triggers", '{"force": true}', {"origin": "test"})
    for _ in range(2):
        document = json.loads(retune("dlq", "list", "--json").stdout)
        (letter,) = document["dead"]
        assert (letter["subscription"], letter["deliveries"]) == ("launcher-finetune-triggers", 100)
        assert letter["original_id"] == f"pubsub:{message_id}"


def test_a_replayed_letter_keeps_attributes_and_identity_and_is_gone(world: World, retune: Retune, dead: Callable[..., str]) -> None:
    message_id = dead("launcher-finetune-triggers", '{"force": true}', {"origin": "test"})
    dead("collector-stt-errors", '{"event_id": "e77"}', {"type": "SttError"})
    replayed = retune("dlq", "replay", "--id", message_id)
    assert (replayed.exit_code, replayed.stdout) == (0, f"pubsub:{message_id} to finetune-triggers\n")
    again = world.bus.published(FINETUNE_TRIGGERS)[-1]
    assert again.attributes == {"origin": "test", ORIGINAL_ID_ATTRIBUTE: f"pubsub:{message_id}"}
    assert json.loads(world.store.get("cycles/000001/declined.json").data)["cause"] == f"pubsub:{message_id}"
    assert [letter["original_id"] for letter in json.loads(retune("dlq", "list", "--json").stdout)["dead"]] == ["e77"]
    assert retune("dlq", "replay", "--all").exit_code == 0
    assert world.bus.published(STT_ERRORS)[-1].attributes[ORIGINAL_ID_ATTRIBUTE] == "e77"
    assert retune("dlq", "list").stdout == "Nothing was refused.\n"


def test_replay_wants_to_know_which(retune: Retune, dead: Callable[..., str]) -> None:
    assert retune("dlq", "replay").exit_code == 2
    assert retune("dlq", "replay", "--id", "77").exit_code == 1
    assert "expected one of" in retune("dlq", "replay", "--all", "--subscription", "nobody").stderr


# settings


def test_missing_settings_are_listed_with_what_to_do(outside: Retune) -> None:
    answered = outside("status")
    assert answered.exit_code == 3
    assert "RETUNE_BUCKET: not set" in answered.stderr
    assert 'eval "$(retune env)"' in answered.stderr


def test_an_emulator_that_is_gone_is_named_at_once(outside: Retune) -> None:
    settings = {"RETUNE_BUCKET": "gs://b-1", "GOOGLE_CLOUD_PROJECT": "p", "RETUNE_AUDIO_PREFIXES": "gs://calls"}
    answered = outside("status", **settings, STORAGE_EMULATOR_HOST="http://127.0.0.1:1")
    assert answered.exit_code == 3
    assert "STORAGE_EMULATOR_HOST=http://127.0.0.1:1" in answered.stderr


def test_env_without_a_stack_says_what_to_start(outside: Retune, tmp_path: Path) -> None:
    answered = outside("env", "--dir", str(tmp_path / "none"))
    assert (answered.exit_code, "run `retune up`" in answered.stderr) == (3, True)


def test_a_policy_that_is_none_is_refused_before_anything_starts(outside: Retune, tmp_path: Path) -> None:
    answered = outside("up", "--dir", str(tmp_path), RETUNE_POLICY='{"min_error_cases": 0}')
    assert (answered.exit_code, "RETUNE_POLICY.min_error_cases" in answered.stderr) == (3, True)


def test_what_waits_for_review_is_listed_answered_and_gone(world: World, retune: Retune) -> None:
    record = {"utterance_id": "u7", "decision": "review", "provenance": "llm", "text": "fall back", "reason": "grey"}
    world.store.put(keys.gold(1), (json.dumps(record) + "\n").encode())
    assert [item["utterance_id"] for item in json.loads(retune("review", "--cycle", "1", "--json").stdout)] == ["u7"]
    answered = retune("review", "u7", "--cycle", "1", "--text", "fell back")
    assert (answered.exit_code, "published as a correction" in answered.stdout) == (0, True)
    assert json.loads(world.bus.published(STT_ERRORS)[-1].data)["reference"] == "fell back"


def test_review_wants_one_answer_for_one_utterance(retune: Retune) -> None:
    assert retune("review", "--accept").exit_code == 2
    assert retune("review", "u7").exit_code == 2
    assert retune("review", "u7", "--accept", "--text", "hello").exit_code == 2


def test_llm_check_names_what_is_missing(outside: Retune) -> None:
    pytest.importorskip("openai", reason="the extra `trainer` is not installed")
    checked = outside("llm-check", RETUNE_LLM_BASE_URL="", RETUNE_LLM_MODEL="")
    assert checked.exit_code == 2
    assert "RETUNE_LLM_BASE_URL" in checked.stderr
    assert "RETUNE_LLM_MODEL" in checked.stderr


def test_speech_of_ours_gets_the_shipped_model_and_no_other_folder_does(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / DEMO_MARK).touch()
    demo = f"--audio_dir={tmp_path / 'demo'}"
    assert (Path(model_of(demo, "--seed", "1")) / "model.safetensors").is_file()
    assert model_of(demo, "--model", "mine") == "mine"
    assert model_of(demo, "--model", DEFAULT_MODEL) == DEFAULT_MODEL
    assert model_of("--audio-dir", str(tmp_path)) == DEFAULT_MODEL


def model_of(*arguments: str) -> str:
    return with_shipped_model(parse_options(arguments, {})).model


def test_flags_that_cannot_be_followed_start_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--audio-dir"]) == 2
    assert "--audio-dir" in capsys.readouterr().err
