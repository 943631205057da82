"""What a trainer's machine is told: cloud-init's schema by key, systemd's units, the shell's syntax, and what the scripts do."""

import base64
import json
import shlex
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.launcher.compute_engine.cloud_init import render_user_data
from functions.launcher.trainers import TrainerRun
from shared.bus import Message
from shared.code_identity import code_identity
from shared.errors import InvariantBroken
from shared.events import TrainingFailed
from shared.gold import GoldConfig
from shared.messages import parse_event
from shared.testing.clock import START
from shared.trainer_machines import TrainerMachine
from tests.google_api.settings import IMAGE, google_settings
from trainer.shell.machine import find_machine

RUN = TrainerRun(12, 2, "gs://speech-1-retune-prod/cycles/000012/spec.json", START)
MACHINE = TrainerMachine(zone="europe-west4-a", machine_type="g2-standard-8", provisioning="spot").kind
ENTRY = {"path", "permissions", "owner", "content"}
UNIT_KEYS = {
    "Unit": {"Description", "Wants", "Requires", "After", "OnFailure", "OnSuccess"},
    "Service": {
        *("Type", "RemainAfterExit", "EnvironmentFile", "ExecStart", "ExecStop", "TimeoutStartSec", "TimeoutStopSec", "KillMode"),
    },
}
OF_THE_SYSTEM = {"network-online.target", "docker.service"}


def document(**policy: Any) -> dict[str, Any]:
    text = render_user_data(google_settings(**policy), RUN, MACHINE)
    assert text.splitlines()[0] == "#cloud-config"
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def files(**policy: Any) -> dict[str, str]:
    return {entry["path"]: entry["content"] for entry in document(**policy)["write_files"]}


def units() -> dict[str, ConfigParser]:
    found = {}
    for path, text in files().items():
        if path.endswith(".service"):
            parser = ConfigParser(delimiters=("=",), interpolation=None, strict=True)
            parser.optionxform = str  # type: ignore[assignment,method-assign]
            parser.read_string(text)
            found[Path(path).name] = parser
    return found


def scripts() -> list[str]:
    return [path for path in files() if path.endswith(".sh")]


def variables(**policy: Any) -> dict[str, str]:
    return dict(line.split("=", 1) for line in files(**policy)["/etc/retune/trainer.env"].splitlines())


def test_the_document_has_only_keys_of_cloud_init() -> None:
    found = document()
    assert set(found) == {"write_files", "runcmd"}
    for entry in found["write_files"]:
        assert set(entry) == ENTRY, entry["path"]
        assert entry["path"].startswith(("/etc/retune/", "/etc/systemd/system/"))
        assert entry["permissions"] in {"0600", "0644"}
        assert entry["owner"] == "root:root"
    assert found["runcmd"] == [["systemctl", "daemon-reload"], ["systemctl", "start", "--no-block", "retune-trainer.service"]]


def test_units_have_only_keys_of_systemd_and_name_units_that_there_are() -> None:
    found = units()
    assert set(found) == {"retune-gpu.service", "retune-image.service", "retune-trainer.service", "retune-end.service"}
    for name, unit in found.items():
        assert set(unit.sections()) == {"Unit", "Service"}, name
        for section, keys in UNIT_KEYS.items():
            assert set(unit[section]) <= keys, name
        named = {other for key in ("Wants", "Requires", "After", "OnFailure", "OnSuccess") for other in unit["Unit"].get(key, "").split()}
        assert named <= set(found) | OF_THE_SYSTEM, name


def test_every_script_that_a_unit_runs_is_written() -> None:
    for name, unit in units().items():
        shell, script = shlex.split(unit["Service"]["ExecStart"])
        assert shell == "/bin/sh", name
        assert script in scripts(), name
        assert unit["Service"]["EnvironmentFile"] == "/etc/retune/trainer.env"


def test_the_trainer_comes_after_driver_and_image_and_whatever_ends_ends_the_machine() -> None:
    found = units()
    for needed in ("retune-gpu.service", "retune-image.service"):
        assert needed in found["retune-trainer.service"]["Unit"]["Requires"].split()
        assert needed in found["retune-trainer.service"]["Unit"]["After"].split()
        assert found[needed]["Unit"]["OnFailure"] == "retune-end.service"
    assert (
        found["retune-trainer.service"]["Unit"]["OnSuccess"] == found["retune-trainer.service"]["Unit"]["OnFailure"] == "retune-end.service"
    )


def test_a_preempted_trainer_has_its_time_to_leave_a_checkpoint_within_the_half_minute_of_spot() -> None:
    service = units()["retune-trainer.service"]["Service"]
    stop = shlex.split(service["ExecStop"])
    assert stop == ["/usr/bin/docker", "stop", "-t", "25", "retune-trainer"]
    assert 25 < int(service["TimeoutStopSec"]) < 30


@pytest.mark.parametrize("path", scripts())
def test_each_script_is_one_that_a_shell_can_read(path: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(files()[path])
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_variables_are_those_of_the_attempt() -> None:
    found = variables()
    assert found["IMAGE"] == IMAGE
    assert found["REGISTRY"] == "europe-west4-docker.pkg.dev"
    assert (found["NAME"], found["ATTEMPT"], found["SPEC"]) == ("retune-trainer-000012-2", "2", RUN.spec_uri)
    assert found["KEY_VARIABLE"] == ""


def test_a_key_is_fetched_only_where_somebody_is_asked() -> None:
    gold = GoldConfig(base_url="https://api.mistral.ai/v1", model="voxtral-small", api_key_env="MISTRAL_KEY")
    found = variables(gold=gold.model_dump())
    assert (found["KEY_VARIABLE"], found["KEY_SECRET"]) == ("MISTRAL_KEY", "retune-llm-key")


@pytest.mark.parametrize("spec", ["gs://b/$(reboot)", 'gs://b/"', "gs://b/a b", "gs://b/a\nroot:"])
def test_what_means_something_to_a_shell_is_refused(spec: str) -> None:
    with pytest.raises(InvariantBroken, match="expected plain values"):
        render_user_data(google_settings(), TrainerRun(12, 1, spec), MACHINE)


class Machine:
    """The scripts on this machine, in a folder of their own, with programs that only write down how they were called."""

    def __init__(self, folder: Path, **policy: Any) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        (folder / "bin").mkdir()
        for path, text in files(**policy).items():
            (folder / Path(path).name).write_text(
                text.replace("/etc/retune/", f"{folder}/")
                .replace("/var/lib/", f"{folder}/var/lib/")
                .replace("/dev/nvidia", f"{folder}/dev/nvidia")
            )
        self.program("sleep", "")
        self.program(
            "curl",
            'for last; do :; done\ncase $last in */token) echo \'{"access_token": "t0ken", "expires_in": 9}\' ;; */zone) echo projects/7/zones/europe-west4-a ;; *:access) printf \'{\\n  "payload": {\\n    "data": "c2VjcmV0"\\n  }\\n}\\n\' ;; esac',
        )
        self.variables = variables(**policy)

    def program(self, name: str, body: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\nprintf '%s\\n' {name} \"$@\" --end >> {self.calls}\n{body}\n")
        path.chmod(0o755)

    def devices(self, *names: str) -> None:
        (self.folder / "dev").mkdir()
        for name in names:
            (self.folder / "dev" / name).touch()

    def run(self, script: str) -> int:
        environ = {"PATH": f"{self.folder}/bin:/usr/bin:/bin", **self.variables}
        return subprocess.run(["/bin/sh", str(self.folder / script)], env=environ, capture_output=True, timeout=20, check=False).returncode

    def called(self, name: str) -> list[list[str]]:
        text = self.calls.read_text() if self.calls.exists() else ""
        calls = [call.split("\n") for call in text.split("\n--end\n")]
        return [words for first, *words in calls if first == name]

    def told(self) -> TrainingFailed | None:
        """Return the event that was published, read as the launcher reads it."""
        for words in self.called("curl"):
            if words[-1] == "https://pubsub.googleapis.com/v1/projects/speech-1/topics/training-events:publish":
                assert "Authorization: Bearer t0ken" in words
                (message,) = json.loads(words[words.index("--data") + 1])["messages"]
                event = parse_event(Message(base64.b64decode(message["data"]), message["attributes"], "1", START))
                assert isinstance(event, TrainingFailed)
                return event
        return None


def test_the_trainer_runs_by_digest_with_its_gpu_and_little_else(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.devices("nvidia0", "nvidiactl", "nvidia-uvm")
    machine.program("docker", "exit 0")
    assert machine.run("train.sh") == 0
    (words,) = machine.called("docker")
    assert words[-5:] == [IMAGE, "--spec", RUN.spec_uri, "--attempt", "2"]
    assert [words[n + 1] for n, word in enumerate(words) if word == "--device"] == [
        f"{tmp_path}/dev/{name}" for name in ("nvidia0", "nvidiactl", "nvidia-uvm")
    ]
    assert {"--read-only", "--rm", "no-new-privileges", "ALL"} <= set(words)
    assert not {"--privileged", "--gpus", "--entrypoint"} & set(words)
    assert machine.told() is None


def test_the_trainer_is_told_of_its_machine_whose_price_the_attempt_costs_and_of_its_image(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.devices("nvidia0")
    machine.program("docker", "env > $0.env; exit 0")
    assert machine.run("train.sh") == 0
    (words,) = machine.called("docker")
    passed = {words[n + 1] for n, word in enumerate(words) if word == "--env"}
    environ = dict(line.split("=", 1) for line in (tmp_path / "bin" / "docker.env").read_text().splitlines())
    told = {name: value for name, value in environ.items() if name in passed}
    assert find_machine(told) == MACHINE
    assert code_identity(told)["image_digest"] == IMAGE.partition("@")[2]


def test_several_gpus_train_together(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.devices("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm")
    machine.program("docker", "exit 0")
    assert machine.run("train.sh") == 0
    (words,) = machine.called("docker")
    at = words.index(IMAGE)
    assert words[at - 2 : at] == ["--entrypoint", "torchrun"]
    assert words[at + 1 :] == ["--standalone", "--nproc-per-node", "2", "-m", "trainer", "--spec", RUN.spec_uri, "--attempt", "2"]


def test_the_key_reaches_the_container_and_no_command_line(tmp_path: Path) -> None:
    gold = GoldConfig(base_url="https://api.mistral.ai/v1", model="voxtral-small", api_key_env="MISTRAL_KEY")
    machine = Machine(tmp_path, gold=gold.model_dump())
    machine.devices("nvidia0")
    machine.program("docker", f'printf %s "$MISTRAL_KEY" > {tmp_path}/key')
    assert machine.run("train.sh") == 0
    (words,) = machine.called("docker")
    assert words[words.index("MISTRAL_KEY") - 1] == "--env"
    assert not [word for word in words if "secret" in word]
    assert (tmp_path / "key").read_text() == "secret"


@pytest.mark.parametrize(("code", "told"), [(0, False), (143, False), (1, True), (2, True), (125, True), (137, True)])
def test_an_end_of_which_the_trainer_cannot_tell_is_told_for_it(code: int, told: bool, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.devices("nvidia0")
    machine.program("docker", f"exit {code}")
    assert (machine.run("train.sh") == 0) is not told
    event = machine.told()
    assert (event is not None) is told
    if event is not None:
        assert (event.cycle, event.attempt, event.reason) == (12, 2, "machine_failed")
        assert event.detail == f"the trainer ended with exit code {code}"


def test_a_machine_without_a_gpu_says_so_and_trains_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.program("docker", "exit 0")
    assert machine.run("train.sh") == 1
    event = machine.told()
    assert event is not None
    assert event.detail == "the machine has no GPU"
    assert machine.called("docker") == []


@pytest.mark.parametrize(
    ("script", "program", "detail"),
    [("gpu.sh", "cos-extensions", "the driver of the GPU could not be installed"), ("image.sh", "docker", "the image could not be pulled")],
)
def test_what_cannot_be_prepared_is_tried_three_times_and_told(script: str, program: str, detail: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.program("docker-credential-gcr", "")
    machine.program(program, "exit 1")
    assert machine.run(script) == 1
    assert len(machine.called(program)) == 3
    event = machine.told()
    assert event is not None
    assert event.detail == detail


def test_the_image_is_pulled_with_the_machines_own_account(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.program("docker-credential-gcr", "")
    machine.program("docker", "")
    assert machine.run("image.sh") == 0
    assert machine.called("docker-credential-gcr") == [["configure-docker", "--registries=europe-west4-docker.pkg.dev"]]
    assert machine.called("docker") == [["pull", "--quiet", IMAGE]]


def test_the_machine_deletes_itself(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run("end.sh") == 0
    last = machine.called("curl")[-1]
    assert last[-1] == "https://compute.googleapis.com/compute/v1/projects/7/zones/europe-west4-a/instances/retune-trainer-000012-2"
    assert last[-3:-1] == ["--request", "DELETE"]


def test_a_machine_that_may_not_delete_itself_stops(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.program("curl", 'for last; do :; done\ncase $last in */instances/*) exit 22 ;; */token) echo \'{"access_token": "t"}\' ;; esac')
    machine.program("systemctl", "")
    assert machine.run("end.sh") == 0
    assert machine.called("systemctl") == [["poweroff"]]


def test_the_trainer_is_told_where_its_spans_go_and_by_default_nowhere() -> None:
    settings = google_settings().model_copy(update={"otlp_endpoint": "https://telemetry.googleapis.com"})
    written = {entry["path"]: entry["content"] for entry in yaml.safe_load(render_user_data(settings, RUN, MACHINE))["write_files"]}
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=https://telemetry.googleapis.com\n" in written["/etc/retune/trainer.env"]
    assert "--env OTEL_EXPORTER_OTLP_ENDPOINT " in written["/etc/retune/train.sh"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=\n" in files()["/etc/retune/trainer.env"]
