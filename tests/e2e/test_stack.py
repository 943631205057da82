"""The local stack with real clients, real HTTP and real processes; only the trainer is the tests' own."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Literal

import pytest
from google.cloud import storage
from typer.testing import CliRunner

import infra.cli
import infra.dlq.letters
from functions.launcher.local import LocalLauncher
from infra.errors import Unreachable
from infra.local.emulator import find_emulator
from infra.local.stack import Stack, StackConfig
from infra.local.state_folder import read_env, variables_set
from infra.processes import ROOT
from shared import keys, ledger
from shared.cas import find
from shared.cycle import CODEC, Status
from shared.events import FINETUNE_TRIGGERS
from shared.head import FIRST_CYCLE
from tests.e2e.local_stack import DEADLINE_S, errors, install_model, publish, publish_raw, running, session, until

TRAINER = "retune-trainer-000001-1"
Kind = Literal["embedded", "emulator"]


@pytest.fixture(params=["embedded", pytest.param("emulator", marks=pytest.mark.emulator)])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    if found == "emulator" and find_emulator() is None:
        if os.environ.get("RETUNE_REQUIRE_EMULATOR") == "1":
            pytest.fail("RETUNE_REQUIRE_EMULATOR=1: expected gcloud's Pub/Sub emulator, found none")
        pytest.skip("gcloud's Pub/Sub emulator is not installed")
    return found


def trainer_log(stack: Stack) -> str:
    path = stack.settings.work_dir / "trainers" / f"{TRAINER}.log"
    return path.read_text() if path.exists() else ""


def test_sixty_errors_start_a_trainer_and_a_second_stack_finds_the_bucket_as_it_was(tmp_path: Path, kind: Kind) -> None:
    with running(tmp_path, pubsub=kind) as stack:
        install_model(stack)
        publish(stack, errors(stack, 60))
        until(lambda: "--attempt 1" in trainer_log(stack), "the trainer of cycle 1")
        assert "--spec gs://retune-local/cycles/000001/spec.json" in trainer_log(stack)
        state = CODEC.parse(stack.store.get(keys.state(1)).data)
        assert state.status == Status.PREPARING
        assert state.reason.startswith("60 errors, at least 60 wanted; advice until 2 cycles have been measured: ")
        served = storage.Client().bucket("retune-local").blob("registry/production.json").download_as_bytes()
        assert json.loads(served)["stable"] == 0
        with urllib.request.urlopen(stack.console, timeout=DEADLINE_S) as page:
            assert "v0 is stable; cycle 1 preparing" in page.read().decode()
        with session() as opened:
            assert infra.dlq.letters.list_dead(opened) == infra.dlq.letters.DlqReport(dead=(), quarantined=(), quarantined_total=0)
        if kind == "embedded":  # the emulator numbers its messages from 1 each time, and takes 8 s to start
            assert infra_answers("status", "--json")["running"]["state"]["status"] == "preparing"
    launcher = LocalLauncher(stack.settings.work_dir / "trainers")
    assert launcher.list_names() == []
    objects = [(info.key, info.generation) for info in stack.store.list("") if not info.key.startswith("ledger/")]
    if kind == "embedded":
        with running(tmp_path) as again:
            kept = [(info.key, info.generation) for info in again.store.list("") if not info.key.startswith("ledger/")]
            assert kept == objects


def infra_answers(*arguments: str) -> Any:
    answered = CliRunner().invoke(infra.cli.app, list(arguments))
    assert answered.exit_code == 0, answered.output
    return json.loads(answered.stdout)


BAD: dict[str, tuple[bytes, dict[str, str]]] = {
    "expected a JSON object": (b"{not json", {"type": "SttError", "v": "1"}),
    "hypothesis: Field required": (
        b'{"event_id": "b1", "utterance_id": "u", "audio_uri": "gs://retune-calls/u.wav", "model_version": 0}',
        {"type": "SttError", "v": "1"},
    ),
    "expected a type of": (b"{}", {"type": "SttGuess", "v": "1"}),
    "under an allowed prefix": (
        b'{"event_id": "b2", "utterance_id": "u", "audio_uri": "gs://elsewhere/u.wav", "model_version": 0, "hypothesis": "x"}',
        {"type": "SttError", "v": "1"},
    ),
    "expected at most 262144 bytes": (
        json.dumps(
            {"event_id": "b3", "utterance_id": "u", "audio_uri": "gs://retune-calls/u.wav", "model_version": 0, "hypothesis": "x" * 2**20}
        ).encode(),
        {"type": "SttError", "v": "1"},
    ),
}


def test_what_can_never_be_handled_is_quarantined_and_a_dead_letter_comes_back(tmp_path: Path, kind: Kind) -> None:
    with running(tmp_path, pubsub=kind) as stack, session() as opened:
        publish_raw(stack, list(BAD.values()))
        until(lambda: len(list(stack.store.list("quarantine/"))) == len(BAD), "five objects in quarantine")
        source = {
            "CloudPubSubDeadLetterSourceDeliveryCount": "100",
            "CloudPubSubDeadLetterSourceSubscription": "launcher-finetune-triggers",
        }
        publish_raw(stack, [(b'{"force": true}', {"origin": "test", **source})], topic="launcher-finetune-triggers-dead")

        for _ in range(2):  # a look loses nothing
            report = infra.dlq.letters.list_dead(opened)
            (letter,) = report.dead
            assert (letter.topic, letter.deliveries) == (FINETUNE_TRIGGERS, 100)
        for reason in BAD:
            assert any(reason in item.reason and item.function == "collector" for item in report.quarantined), reason

        # the emulator takes its time with what was given back
        replayed = until(lambda: infra.dlq.letters.replay(opened, subscription=None, wanted=lambda _: True), "the dead letter again")
        assert replayed == [letter]
        until(lambda: find(stack.store, keys.declined(1)), "the launcher's answer")
        declined = json.loads(stack.store.get(keys.declined(1)).data)
        assert declined["cause"] == letter.original_id == f"pubsub:{letter.message_id}"
        assert infra.dlq.letters.list_dead(opened).dead == ()


def test_one_stack_runs_in_a_folder_and_env_leads_to_it(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        assert read_env(stack.directory) == stack.env
        with pytest.raises(Unreachable, match=f"a stack runs there already \\(process {os.getpid()}\\)"):
            Stack(StackConfig(directory=stack.directory)).start()
        port = int(stack.env["STORAGE_EMULATOR_HOST"].rpartition(":")[2])
        with pytest.raises(Unreachable, match="a port is taken"):
            Stack(StackConfig(directory=tmp_path / "other", gcs_port=port)).start()
    with pytest.raises(Unreachable, match="run `retune up` in another terminal"):
        read_env(stack.directory)


def test_functions_that_cannot_start_say_why(tmp_path: Path) -> None:
    config = StackConfig(directory=tmp_path, environ={"RETUNE_POLICY": "no policy"})
    with pytest.raises(Unreachable, match="RETUNE_POLICY: expected a JSON object"):
        Stack(config).start()
    assert not (tmp_path / "env.json").exists()


def up(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "infra.cli", "up", "--no-model", "--dir", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(process: "subprocess.Popen[str]", line: str) -> list[str]:
    """Read what `up` prints until it prints `line`."""
    assert process.stdout is not None
    lines = []
    for printed in process.stdout:
        lines.append(printed.rstrip("\n"))
        if lines[-1] == line:
            return lines
    raise AssertionError(f"expected {line!r}, found {lines}")


def test_ctrl_c_ends_up_and_all_that_it_started(tmp_path: Path) -> None:
    with up(tmp_path) as process:
        printed = said(process, "ready")
        variables = read_env(tmp_path)
        assert f"export STORAGE_EMULATOR_HOST={variables['STORAGE_EMULATOR_HOST']}" in printed
        assert {"PUBSUB_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT", "RETUNE_BUCKET", "RETUNE_POLICY"} <= set(variables)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
        assert said(process, "stopped") == ["stopping; a trainer that runs is ended, too", "stopped"]
    assert not (tmp_path / "env.json").exists()


def test_functions_end_when_up_is_killed(tmp_path: Path) -> None:
    with up(tmp_path) as process:
        said(process, "ready")
        (child,) = children(process.pid)
        log = tmp_path / "logs" / "functions.log"
        until(lambda: "nothing to do" in log.read_text(), "the first tick's answer")  # a request under way would try the store for 20 s
        process.kill()
    until(lambda: not alive(child), "the functions' process to end")
    with pytest.raises(Unreachable):
        read_env(tmp_path)


def test_what_was_reported_to_a_stack_that_was_killed_is_collected_by_the_next(tmp_path: Path) -> None:
    stack = Stack(StackConfig(directory=tmp_path))
    reported = errors(stack, 3)
    with up(tmp_path) as process:
        said(process, "ready")
        (child,) = children(process.pid)
        os.kill(child, signal.SIGSTOP)  # nobody handles anything from here on
        with variables_set(read_env(tmp_path)):
            publish(stack, reported)
        process.kill()
        os.kill(child, signal.SIGKILL)
    assert events_in_ledger(stack) == set()
    with up(tmp_path) as process:
        said(process, "ready")
        until(lambda: events_in_ledger(stack) == {event.event_id for event in reported}, "the reports")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0


def events_in_ledger(stack: Stack) -> set[str]:
    return {event.event_id for event in ledger.read_events(stack.store, FIRST_CYCLE)}


def children(parent: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
