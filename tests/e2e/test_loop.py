"""The real loop with a shorter training: real servers, real functions, real speech, the real trainer, killed once.

One run feeds all tests of this module.
"""

import io
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("espeakng_loader")

import soundfile
from retune_client import Utterance
from rich.console import Console

from infra.local.baseline import MODEL_DIR, TRAINING
from infra.local.demo.corpora import add_corpora
from infra.local.demo.narrate import CycleStory, read_state, wait_until
from infra.local.demo.plan import SUITE, DemoPlan
from infra.local.demo.service import SpeechService
from infra.local.demo.speech_source import people, utterances
from infra.local.stack import Stack, StackConfig
from infra.local.state_folder import variables_set
from infra.models.importing import import_model
from infra.people import Person
from infra.session import open_session
from shared import keys
from shared.cas import find
from shared.cycle import CycleState, Status
from shared.dataset import Row
from shared.documents import parse_document, parse_lines
from shared.objectstore import ObjectStore
from shared.stores import open_store
from shared.training import EvaluationRow, Heartbeat, TrainingResult, TrainingSpec
from shared.verdict import ValidationReport, parse_report

pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]

PLAN = DemoPlan(callers=44, suite_callers=8, fresh_callers=8, errors=90, replay_clips=70, suite_clips=48, sample_rate=0.5)
QUICK = TRAINING.model_copy(update={"epochs": 2})
RATE = 16_000


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def bad_clips() -> dict[str, bytes | None]:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    return {
        "missing": None,
        "empty": b"",
        "not_audio": b"this is a text",
        "wrong_rate": wav(noise, 8000),
        "too_short": wav(noise[: RATE // 10]),
        "too_long": wav(np.tile(noise, 200)),
    }


@dataclass(frozen=True)
class Run:
    """What one run of the loop left behind."""

    state: CycleState
    report: ValidationReport
    result: TrainingResult
    spec: TrainingSpec
    rows: list[Row]
    store: ObjectStore
    killed: int


def report_bad_clips(service: SpeechService, calls: ObjectStore, speakers: list[str]) -> None:
    """Report an error for each kind of bad audio, once for each of some speakers so that training meets every kind."""
    for speaker in speakers:
        for kind, data in bad_clips().items():
            key = f"bad-{kind}-{speaker}.wav"
            if data is not None:
                calls.put(key, data + (b"" if kind == "empty" else b" " + speaker.encode()))
            utterance = Utterance(
                utterance_id=f"bad-{kind}-{speaker}",
                audio_uri=f"{calls.uri}/{key}",
                hypothesis="call back",
                model_version=0,
                speaker_id=speaker,
            )
            service.reporter.report_error(utterance, reference="fall back", reference_provenance="human")


def kill_trainer(stack: Stack, store: ObjectStore) -> int:
    """Kill the first attempt with SIGKILL while it trains; return its process id."""

    def training() -> bool:
        found = find(store, keys.heartbeat(1))
        return found is not None and parse_document(Heartbeat, found.data, what="heartbeat").phase != "starting"

    wait_until(training, "the trainer to work", timeout_s=120.0, poll_s=0.05)
    pid = int((stack.settings.work_dir / "trainers" / "retune-trainer-000001-1.lock").read_text())
    os.killpg(pid, signal.SIGKILL)
    return pid


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("loop")
    policy = PLAN.policy().model_copy(update={"training": QUICK, "min_error_cases": PLAN.errors})
    config = StackConfig(directory=folder / "stack", policy=policy, tick_s=1.0, environ={"RETUNE_HEARTBEAT_S": "0.2"})
    with Stack(config) as stack, variables_set(stack.env), open_session() as session:
        import_model(session.ports, str(MODEL_DIR), Person(by="test"), tell=lambda _text: None)
        store, who = session.ports.store, people(PLAN)
        add_corpora(session.ports, PLAN, who, lambda _count: None)
        name = "test-service"
        session.bus.create_subscription("model-events", name)
        calls = open_store(f"gs://{config.calls}")
        service = SpeechService(
            project=config.project,
            registry=config.bucket,
            calls=calls,
            cache=folder / "service",
            sample_rate=PLAN.sample_rate,
            subscription=f"projects/{config.project}/subscriptions/{name}",
        )
        try:
            assert service.router.wait_for(0, timeout=60.0)
            report_bad_clips(service, calls, [caller.speaker_id for caller in who.calling[-12:]])
            stream = utterances(PLAN, 5, who.calling, PLAN.phone_share)
            while read_state(store, 1) is None:
                service.serve(list(islice(stream, 16)))
            killed = kill_trainer(stack, store)
            calling = CycleStory(
                Console(file=io.StringIO()), store, 1, timeout_s=240.0, on_canary=lambda: service.serve(list(islice(stream, 16)))
            )
            state = calling.follow()
            yield _gathered(session.ports.store, state, killed)
        finally:
            service.close()


def _gathered(store: ObjectStore, state: CycleState, killed: int) -> Run:
    return Run(
        state=state,
        report=parse_report(store.get(keys.report(1)).data),
        result=parse_document(TrainingResult, store.get(keys.result(1)).data, what="result"),
        spec=parse_document(TrainingSpec, store.get(keys.spec(1)).data, what="spec"),
        rows=parse_lines(Row, store.get(keys.dataset(1)).data, what="dataset"),
        store=store,
        killed=killed,
    )


def test_the_killed_trainer_was_relaunched_and_the_second_attempt_finished(run: Run) -> None:
    assert run.killed > 0
    assert [entry.status for entry in run.state.history].count(Status.INTERRUPTED) == 1
    assert run.result.attempt == 2
    assert run.state.status in {Status.DEPLOYED, Status.REJECTED, Status.INCONCLUSIVE}


def test_the_verdict_says_what_was_measured_and_the_alias_follows_it(run: Run) -> None:
    production = json.loads(run.store.get(keys.PRODUCTION).data)
    assert (run.report.outcome == "accepted") == (production["stable"] == 1)
    names = {numbers.name for numbers in run.report.sets}
    assert names == {"holdout", f"suite-{SUITE}"}
    assert all(numbers.utterances > 0 for numbers in run.report.sets)


def test_training_changed_the_model(run: Run) -> None:
    (holdout,) = (item for item in run.result.evaluations if item.name == "holdout")
    rows = parse_lines(EvaluationRow, run.store.get(holdout.ref.key).data, what="rows")
    assert run.result.scale > 0
    assert any(row.base_hypothesis != row.candidate_hypothesis for row in rows)


def test_nobody_is_on_both_sides_of_a_split(run: Run) -> None:
    clusters: dict[str, set[str]] = {}
    for clip_set in (each for each in run.spec.sets if each.role != "recheck"):  # these decide nothing
        lines = run.store.get(clip_set.ref.key).data.decode().splitlines()
        side = "judge" if clip_set.role == "judge" else "dev" if clip_set.role.startswith("dev") else "train"
        clusters.setdefault(side, set()).update(json.loads(line)["cluster"] for line in lines)
    assert clusters["train"]
    assert clusters["judge"]
    assert not clusters["train"] & clusters["judge"]
    assert not clusters["train"] & clusters["dev"]
    assert not clusters["dev"] & clusters["judge"]


@pytest.mark.parametrize("kind", sorted(bad_clips()))
def test_a_bad_clip_is_set_aside_with_its_reason_and_counted(run: Run, kind: str) -> None:
    counted = {reason for reasons in run.report.left_out.values() for reason in reasons}
    assert kind in counted


def test_every_report_is_a_row(run: Run) -> None:
    assert {row.kind for row in run.rows} >= {"error", "sample"}
    assert all(row.origin == "fresh" for row in run.rows)
    assert len({row.event_id for row in run.rows}) == len(run.rows)
