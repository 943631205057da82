"""A machine that is taken away: a real trainer process gets SIGTERM, says so in time, and the next attempt loses nothing."""

import importlib.util
import json
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from infra.local.pubsub_server import PubSubServer
from infra.waiting import wait_for
from shared import keys
from shared.clock import SystemClock
from shared.events import TRAINING_EVENTS
from shared.testing.memory_bus import MemoryBus
from shared.training import LoraConfig, TrainingConfig
from tests.e2e.machine import PROJECT, Machine

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("grpc") is None, reason="the extra `local` is not installed"),
]

CONFIG = TrainingConfig(epochs=120, batch_size=2, learning_rate=1e-3, patience=None, lora=LoraConfig(rank=4, alpha=8), lambdas=(1.0,))
NOTICE_S = 30.0
"""What a machine that is taken away leaves a process."""


def test_a_trainer_that_gets_sigterm_leaves_a_checkpoint_in_time_and_the_next_attempt_gives_the_same_weights(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    bus = MemoryBus(SystemClock(), PROJECT)
    bus.create_topic(TRAINING_EVENTS)
    with PubSubServer(bus) as server:
        straight = Machine(tmp_path / "straight", calls, server.grpc_target, CONFIG)
        assert straight.complete(1).train["steps"] == 240
        taken = Machine(tmp_path / "taken", calls, server.grpc_target, CONFIG)
        with taken.start(1) as process:
            wait_for(lambda: taken.steps_done() >= 20 or None, timeout_s=120.0, what="twenty steps")
            signalled = time.monotonic()
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=NOTICE_S)
            assert time.monotonic() - signalled < NOTICE_S
        assert process.returncode == 143, said[-2000:]
        events = [(message.attributes["type"], json.loads(message.data)["attempt"]) for message in bus.published(TRAINING_EVENTS)]
        assert events == [("TrainingCompleted", 1), ("TrainingPreempted", 1)]
        (checkpoint,) = taken.store.list(keys.checkpoints(1))
        assert 20 <= int(checkpoint.key.rsplit("/", 1)[1][:8]) < 240
        taken.relaunch()
        assert taken.complete(2).attempt == 2
    log = taken.store.get(keys.train_log(1, 2)).data.decode()
    assert '"event": "resumed"' in log
    assert log.count('"event": "step"') == 240 - int(checkpoint.key.rsplit("/", 1)[1][:8])
    assert taken.weights() == straight.weights()
