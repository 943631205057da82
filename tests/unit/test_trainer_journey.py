"""The trainer's steps of docs/architecture/journeys.md are what a run does."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from shared import keys
from shared.bus import Outgoing
from shared.cycle import CODEC
from shared.testing.memory_store import MemoryStore
from tests.journey_page import PAGE, differences, tables
from tests.recorder import Recorder
from tests.trainer_cycle import Cycle
from trainer.shell.carry import Ending
from trainer.testing import Outbox

pytestmark = pytest.mark.torch


class TellingOutbox(Outbox):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def publish(self, message: Outgoing) -> str:
        self._recorder.make(f"{message.attributes['type']} on {message.topic}")
        return super().publish(message)


def test_a_run_goes_as_it_is_told(tmp_path: Path) -> None:
    recorder, store, beats = Recorder(), MemoryStore(), {keys.heartbeat(1), keys.progress(1)}
    cycle = Cycle(tmp_path, store)
    cycle.outbox = TellingOutbox(recorder)

    def tell(operation: str, key: str) -> None:
        if operation == "put" and (key not in beats or key not in {step.made for step in recorder.steps}):  # a beat may fall anywhere
            recorder.make(f"{key} {CODEC.parse(store.get(key).data).status}" if key == keys.state(1) else key)

    store.after = tell
    with recorder.recording():
        assert cycle.run() == Ending.COMPLETED
    rows = [row for row in tables(PAGE)[0] if row.places[0].path.startswith("trainer/")]
    assert differences(rows, recorder.steps) == []
