"""The examples of `retune_client` against the servers of the local stack; what they report the collector takes."""

import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.collector.handler import Collector
from functions.runtime import Ports
from infra.coordinator import DataManager, FinetuningCoordinator
from infra.local.baseline import MODEL_DIR
from infra.local.gcs_server import GcsServer
from infra.local.pubsub_server import PubSubServer
from infra.local.state_folder import variables_set
from infra.processes import ROOT, environment
from shared import ledger
from shared.audio_source import AudioSource
from shared.clock import SystemClock
from shared.config import Settings
from shared.events import MODEL_EVENTS, STT_ERRORS, Event, SttError, SttSample, SttTraffic
from shared.head import read_head
from shared.stores import open_store
from shared.testing.memory_bus import MemoryBus

EXAMPLES = ROOT / "shared" / "client" / "examples"
PROJECT, REGISTRY, CALLS = "shop", "shop-registry", "shop-calls"
needs_model = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the extra `trainer` is not installed")
needs_speech = pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the extra `local` is not installed")


@dataclass(frozen=True)
class Cloud:
    """The servers, with the collector on what comes in."""

    bus: MemoryBus
    rest_url: str
    settings: Settings

    def reported(self) -> list[Event]:
        """Have the collector take everything that was published; return what it keeps."""
        ports = Ports(open_store(self.settings.bucket), self.bus, SystemClock(), self.settings)
        collector = Collector(ports, AudioSource(allowed_prefixes=self.settings.audio_prefixes).check)
        for message in self.bus.published(STT_ERRORS):
            collector(message)
        return list(ledger.read_events(ports.store, read_head(ports.store)))


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    bus = MemoryBus(SystemClock(), PROJECT)
    for topic in (STT_ERRORS, MODEL_EVENTS):
        bus.create_topic(topic)
    for bucket in (REGISTRY, CALLS):
        (tmp_path / "buckets" / bucket).mkdir(parents=True)
    with GcsServer(tmp_path / "buckets") as gcs, PubSubServer(bus) as pubsub:
        settings = Settings(
            bucket=f"gs://{REGISTRY}", project=PROJECT, audio_prefixes=(f"gs://{CALLS}",), linger_s=0, count_interval_s=3600
        )
        google = {"STORAGE_EMULATOR_HOST": gcs.url, "PUBSUB_EMULATOR_HOST": pubsub.grpc_target}
        own = {"REGISTRY_BUCKET": REGISTRY, "CALLS_BUCKET": CALLS, "CACHE_DIR": str(tmp_path / "cache"), "TOKENIZERS_PARALLELISM": "false"}
        with variables_set({**settings.to_env(), **google, **own}):
            yield Cloud(bus, pubsub.rest_url, settings)


def install_model(folder: Path) -> None:
    """Make the shipped model v0, as `retune models import` does, without looking at it again."""

    def copy(_source: str, to: Path) -> dict[str, Any]:
        shutil.copytree(MODEL_DIR, to, ignore=shutil.ignore_patterns("metrics.json"))
        return {}

    coordinator = FinetuningCoordinator(data_manager=DataManager(use_gcs=True, directory=folder / "coordinator"))
    coordinator.deployer.import_model(MODEL_DIR, convert=copy)


def speech(folder: Path) -> list[tuple[Path, str]]:
    """Return some recordings with what is said in them."""
    from infra.local.corpus import write_corpus

    write_corpus(folder, clean=2, noisy=3, callers_count=5, seed=0)
    rows = [json.loads(line) for line in (folder / "transcripts.jsonl").read_text().splitlines()]
    return [(folder / row["file"], row["text"]) for row in rows]


def test_ten_lines_make_a_service_part_of_the_loop() -> None:
    source = (EXAMPLES / "fastapi_service.py").read_text()
    marked = [line.strip() for line in source.splitlines() if line.endswith("# retune")]
    assert len(marked) == 10
    others = "\n".join(line for line in source.splitlines() if not line.endswith("# retune"))
    left = re.findall(r"\b(?:ErrorReporter|ModelRouter|Utterance|observe|choose|refresh|report_error|report_correction)\(", others)
    assert left == [], "a line of Retune's that is not marked"


@needs_model
@needs_speech
@pytest.mark.torch
def test_a_fastapi_service_serves_the_model_and_reports_what_it_doubts_and_what_users_correct(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi", reason="the extra `examples` is not installed")
    from starlette.testclient import TestClient

    install_model(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("LOW_CONFIDENCE", "0.9")
    service: Any = importlib.import_module("fastapi_service")

    calls = speech(tmp_path / "speech")
    with TestClient(service.app) as client:
        answers = [client.post("/transcriptions?session_id=s1", content=path.read_bytes()).json() for path, _ in calls]
        wrong = [(answer, said) for answer, (_, said) in zip(answers, calls, strict=True) if answer["text"] != said]
        assert wrong, "the shipped model mishears the telephone line"
        for answer, said in wrong:
            assert client.put(f"/transcriptions/{answer['id']}", json={"text": said}).status_code == 204
        assert client.put("/transcriptions/unknown", json={"text": "x"}).status_code == 404
        refused = client.post("/transcriptions?session_id=s1", content=b"no audio")
        assert (refused.status_code, "expected an audio file" in refused.text) == (422, True)
        assert service.app.state.reporter.flush(30.0)
    assert {answer["model_version"] for answer in answers} == {0}
    events = cloud.reported()
    errors = [event for event in events if isinstance(event, SttError)]
    assert {(error.utterance_id, error.reference) for error in errors if error.error_type == "corrected"} == {
        (answer["id"], said) for answer, said in wrong
    }
    doubted = {answer["id"] for answer in answers if answer["confidence"] < 0.9}
    assert doubted
    assert {error.utterance_id for error in errors if error.error_type == "low_confidence"} == doubted
    assert sum(event.utterances for event in events if isinstance(event, SttTraffic)) == len(calls)
    kept = open_store(f"gs://{CALLS}")
    assert {kept.get(f"{answer['id']}.wav").data for answer in answers} == {path.read_bytes() for path, _ in calls}


@needs_model
@needs_speech
@pytest.mark.torch
def test_a_batch_job_writes_transcripts_and_reports_what_a_person_wrote_otherwise(cloud: Cloud, tmp_path: Path) -> None:
    install_model(tmp_path)
    calls = speech(tmp_path / "speech")
    for path, said in calls:
        path.with_suffix(".reference.txt").write_text(said + "\n")
    (tmp_path / "speech" / "empty.wav").touch()
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "batch_job.py"), str(tmp_path / "speech")],
        env=environment({"PYTHONPATH": os.pathsep.join([str(ROOT / "shared" / "client"), os.environ.get("PYTHONPATH", "")])}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "empty.wav is left out: recording: expected an audio file" in done.stderr
    heard = {path.relative_to(tmp_path / "speech").as_posix(): path.with_suffix(".txt").read_text().strip() for path, _ in calls}
    truth = {path.relative_to(tmp_path / "speech").as_posix(): text for path, text in calls}
    wrong = {name for name in truth if heard[name] != truth[name]}
    assert done.stdout.splitlines()[-1] == f"{len(calls)} recordings, {len(wrong)} reported as errors"
    events = cloud.reported()
    errors = {event.utterance_id: event for event in events if isinstance(event, SttError)}
    assert errors.keys() == wrong
    assert {name: (event.hypothesis, event.reference) for name, event in errors.items()} == {
        name: (heard[name], truth[name]) for name in wrong
    }
    assert {event.session_id for event in events if isinstance(event, SttError | SttSample)} <= {"clean", "noisy"}


def report(script: str, cloud: Cloud, *arguments: str, **variables: str) -> None:
    command = [str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert cloud.bus.published(STT_ERRORS)


SAID = 'he said "no\\yes" to änna\n& left'


def check_reported(cloud: Cloud) -> None:
    """The error stands there once, however often it was told, with its text as it was but for the line break."""
    (event,) = {event.event_id: event for event in cloud.reported()}.values()
    assert isinstance(event, SttError)
    assert (event.utterance_id, event.audio_uri, event.model_version) == ("call-7", f"gs://{CALLS}/7.wav", 12)
    assert (event.hypothesis, event.reference, event.reference_provenance) == ("he said no", SAID.replace("\n", " "), "human")


def test_curl_publishes_plain_json(cloud: Cloud) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for _ in range(2):
        report("report_error_curl.sh", cloud, "call-7", f"gs://{CALLS}/7.wav", "12", "he said no", SAID, PUBSUB_URL=cloud.rest_url)
    check_reported(cloud)


def test_a_script_says_how_it_is_used() -> None:
    for script in ("report_error_curl.sh", "report_error_gcloud.sh"):
        done = subprocess.run([str(EXAMPLES / script), "only-one"], capture_output=True, text=True, check=False)
        assert (done.returncode, "usage: " in done.stderr) == (2, True)


@pytest.mark.emulator
def test_gcloud_publishes_plain_json(cloud: Cloud, tmp_path: Path) -> None:
    if shutil.which("gcloud") is None:
        if os.environ.get("RETUNE_REQUIRE_EMULATOR") == "1":
            pytest.fail("RETUNE_REQUIRE_EMULATOR=1: expected gcloud on the PATH, found none")
        pytest.skip("gcloud is not installed")
    local = {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": cloud.rest_url,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    }
    report("report_error_gcloud.sh", cloud, "call-7", f"gs://{CALLS}/7.wav", "12", "he said no", SAID, **local)
    check_reported(cloud)
