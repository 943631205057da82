"""The guide's complete workflow over a bucket: Google's own clients against servers of this machine, without torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.wiring import subscription_name
from infra.coordinator import DataManager, FinetuningCoordinator, TrainedModel, TrainingJob
from infra.errors import Refused
from infra.local.gcs_server import GcsServer
from infra.local.pubsub_server import PubSubServer
from infra.local.state_folder import variables_set
from shared import keys
from shared.clock import SystemClock
from shared.cycle import Status
from shared.events import FINETUNE_TRIGGERS, MODEL_EVENTS, ModelDeployed
from shared.messages import parse_event
from shared.policy import Policy
from shared.stores import open_store
from shared.testing.memory_bus import MemoryBus

PROJECT = "your-project"
POLICY = Policy(cooldown_s=0.0)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[MemoryBus]:
    bus = MemoryBus(SystemClock(), PROJECT)
    bus.create_topic(MODEL_EVENTS)
    with GcsServer(tmp_path / "buckets") as gcs, PubSubServer(bus) as pubsub:
        (tmp_path / "buckets" / "registry").mkdir()
        (tmp_path / "buckets" / "calls").mkdir()
        settings = {
            "STORAGE_EMULATOR_HOST": gcs.url,
            "PUBSUB_EMULATOR_HOST": pubsub.grpc_target,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "RETUNE_BUCKET": "gs://registry",
            "RETUNE_AUDIO_PREFIXES": "gs://calls",
            "RETUNE_POLICY": POLICY.model_dump_json(exclude_defaults=True),
        }
        with variables_set(settings):
            yield bus


def custom_training_function(job: TrainingJob) -> TrainedModel:
    (job.output_dir / "model.safetensors").write_bytes(b"trained weights")
    return TrainedModel(job.output_dir, lambda _audio: "fall back")


def baseline_transcribe(audio: Path) -> str:
    return "call back" if b"error" in audio.read_bytes() else "fall back"


def convert(_source: str, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"first weights")
    return {}


def test_a_bucket_and_the_topic_of_those_who_serve_take_the_place_of_the_folder(bus: MemoryBus, tmp_path: Path) -> None:
    data_manager = DataManager(use_gcs=True, directory=tmp_path / "here")
    data_manager.store.put(keys.SPLIT_KEY, b"a key that tests share")  # the same callers judge in every run
    coordinator = FinetuningCoordinator(data_manager=data_manager, use_gcs=True, project_id="your-project")
    coordinator.set_training_callback(custom_training_function)
    coordinator.set_baseline_transcribe_function(baseline_transcribe)

    coordinator.deployer.import_model("nowhere", convert=convert)
    calls = open_store("gs://calls")
    for number in range(20):
        for kind in ("error", "sample"):
            calls.put(f"{kind}-{number}.wav", f"{kind} {number}".encode())
        data_manager.report_error(f"gs://calls/error-{number}.wav", "call back", reference="fall back", speaker_id=f"s{number}")
        data_manager.report_sample(f"gs://calls/sample-{number}.wav", "fall back", sample_rate=1.0, speaker_id=f"s{number}")
    with pytest.raises(Refused, match="expected gs://bucket/key under gs://calls, found a local file"):
        data_manager.report_error(tmp_path / "local.wav", "call back")

    workflow = coordinator.run_complete_workflow(force_trigger=True, auto_deploy=False)
    assert (workflow.status, workflow.cycle) == (Status.INCONCLUSIVE, 1), workflow.reasons  # a handful of callers decides nothing
    assert workflow.validation is not None
    assert workflow.validation.report.sets[0].candidate.substitutions < workflow.validation.report.sets[0].base.substitutions
    assert coordinator.deployer.deploy(1, override=True, reason="the test wants it").outcome == "accepted"
    told = [parse_event(message) for message in bus.published(MODEL_EVENTS)]  # a move may be told twice
    assert {(type(event), getattr(event, "version", None)) for event in told} == {(ModelDeployed, 0), (ModelDeployed, 1)}


def test_where_functions_are_deployed_nobody_trains_beside_them(bus: MemoryBus, tmp_path: Path) -> None:
    bus.create_topic(FINETUNE_TRIGGERS)
    bus.create_subscription(FINETUNE_TRIGGERS, subscription_name("launcher", FINETUNE_TRIGGERS))
    with pytest.raises(Refused, match="functions are deployed there, whose sweeper ends a trainer that it did not start"):
        FinetuningCoordinator(data_manager=DataManager(use_gcs=True, directory=tmp_path / "here"), project_id="your-project")


def test_a_topic_that_is_missing_is_named(tmp_path: Path, bus: MemoryBus) -> None:
    bus.engine.delete_topic(f"projects/{PROJECT}/topics/{MODEL_EVENTS}")
    coordinator = FinetuningCoordinator(data_manager=DataManager(use_gcs=True, directory=tmp_path / "here"))
    with pytest.raises(Refused, match=f"{MODEL_EVENTS}.*: make the topic, so that services hear of new models"):
        coordinator.deployer.import_model("nowhere", convert=convert)
