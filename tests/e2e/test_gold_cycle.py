"""A cycle whose errors nobody corrected: a real endpoint on loopback is asked, the sound decides, and what was accepted is trained on."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")
pytest.importorskip("espeakng_loader", reason="the extra `local` is not installed")

import numpy as np
import torch

from infra.local.baseline import MODEL_DIR
from infra.local.corpus import Domain, Utterance, callers, make_utterance
from shared import keys
from shared.audio_source import AudioSource
from shared.cycle import CODEC, Status
from shared.documents import parse_document, parse_lines
from shared.gold import GoldConfig, GoldRecord
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore
from shared.training import Clip, LoraConfig, ObjectRef, SetRole, TrainingConfig, TrainingResult, UnlabelledClip
from tests.gold_server import MODEL, Asked, GoldServer, small_trust, status
from trainer.attempt.run import Dependencies, run
from trainer.gold.transcribers import open_transcriber
from trainer.shell.attempt import Attempt
from trainer.shell.carry import Ending
from trainer.shell.progress import TRAIN_LOG, Progress
from trainer.testing import Outbox, store_cycle, store_model, stored_clip, wav_bytes

pytestmark = pytest.mark.torch

TRUSTED, WANTED = 24, 12
CONFIG = TrainingConfig(epochs=1, learning_rate=1e-3, lora=LoraConfig(rank=4, alpha=8), lambdas=(0.5,))


class GoldCycle:
    """Cycle 1: corrected errors, errors without a reference, and one clip that judges."""

    def __init__(self, folder: Path, url: str) -> None:
        torch.set_num_threads(2)
        self.folder, self.store, self.outbox, self.lives = folder, MemoryStore(), Outbox(), 0
        people = callers(8)

        def say(number: int) -> Utterance:
            return make_utterance(np.random.default_rng([5, number]), Domain.CALL_CENTRE, people[number % len(people)])

        corrected = [say(number) for number in range(TRUSTED)]
        self.wanted = {f"w{number}": say(100 + number) for number in range(WANTED)}
        self.truth = {hashlib.sha256(wav_bytes(said.audio)).hexdigest(): (name, said.text) for name, said in self.wanted.items()}
        clips: dict[tuple[str, SetRole], list[Clip | UnlabelledClip]] = {
            ("train-errors", "train_errors"): [
                stored_clip(self.store, f"e{number}", said.text, audio=wav_bytes(said.audio)) for number, said in enumerate(corrected)
            ],
            (keys.UNLABELLED_SET, "train_unlabelled"): [self.unlabelled(name, said) for name, said in self.wanted.items()],
            ("holdout", "judge"): [stored_clip(self.store, "h0", say(200).text, audio=wav_bytes(say(200).audio))],
        }
        gold = GoldConfig(base_url=url, model=MODEL, send_audio=True, samples=2, language="en", tries=2)
        store_cycle(self.store, clips, self.base(), CONFIG, gold=gold)

    def base(self) -> ObjectRef:
        folder = self.folder / "base"
        folder.mkdir()
        for name in ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"):
            (folder / name).write_bytes((MODEL_DIR / name).read_bytes())
        return store_model(self.store, 0, folder, learned=())

    def unlabelled(self, name: str, said: Utterance) -> UnlabelledClip:
        clip = stored_clip(self.store, name, said.text, audio=wav_bytes(said.audio))
        return UnlabelledClip(utterance_id=name, cluster=clip.cluster, audio=clip.audio, hypothesis="what production heard")

    def run(self, attempt: int = 1) -> Ending:
        self.lives += 1
        work_dir = self.folder / f"life-{self.lives}"
        work_dir.mkdir()
        deps = Dependencies(
            work_dir=work_dir,
            audio=lambda prefixes: AudioSource(lambda _uri: self.store, prefixes),
            device=torch.device("cpu"),
            open_transcriber=lambda config: open_transcriber(config, {"RETUNE_LLM_API_KEY": "sk-test"}),
        )
        clock = FakeClock()
        return run(Attempt(self.store, self.outbox, clock, 1, attempt, Progress(work_dir / TRAIN_LOG, clock)), deps)

    def records(self) -> dict[str, GoldRecord]:
        rows = parse_lines(GoldRecord, self.store.get(keys.gold(1)).data, what="gold")
        return {row.utterance_id: row for row in rows}

    @property
    def result(self) -> TrainingResult:
        return parse_document(TrainingResult, self.store.get(keys.result(1)).data, what="result")


def answers(truth: Callable[[], dict[str, tuple[str, str]]]) -> Callable[[Asked], str]:
    """Say the truth of most clips, add words that nobody said to every third, and never the same twice of w1."""

    def answer(asked: Asked) -> str:
        name, text = truth()[asked.audio_sha256]
        number = int(name[1:])
        if name == "w1":
            return f"{text} {'today' if asked.seed == 1 else 'tomorrow'}"
        return f"{text} thank you for watching" if number % 3 == 2 else text

    return answer


@pytest.fixture(autouse=True)
def quick_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", small_trust(tmp_path))


def test_accepted_gold_is_trained_on_invented_words_are_not_and_a_second_attempt_asks_nothing(tmp_path: Path) -> None:
    cycles: list[GoldCycle] = []
    with GoldServer(answers(lambda: cycles[0].truth), key="sk-test") as server:
        cycle = GoldCycle(tmp_path, server.url)
        cycles.append(cycle)
        assert cycle.run() == Ending.COMPLETED
        records = cycle.records()
        accepted = {name for name, record in records.items() if record.decision == "accepted"}
        invented = {f"w{number}" for number in range(WANTED) if number % 3 == 2} | {"w1"}
        assert not accepted & invented
        assert len(accepted) >= 4  # of seven true answers, those that the sound bears out
        for name in accepted:
            assert records[name].text == cycle.wanted[name].text
            assert (records[name].provenance, records[name].model, records[name].agreement) == ("llm", MODEL, 1.0)
            assert records[name].scores is not None
        assert "24 trusted clips" in records["w0"].reason
        figures = cycle.result.train
        assert figures["gold"] == len(accepted)
        assert figures["trained_clips"] == TRUSTED + len(accepted)
        aside = {row.utterance_id: row.reason for row in cycle.result.set_aside}
        assert aside.keys() == cycle.wanted.keys() - accepted
        assert set(aside.values()) <= {"gold_rejected", "gold_awaits_review"}

        asked = len(server.asked)
        assert asked == 2 * WANTED
        cycle.store.delete(keys.gold(1))  # as though the machine had gone between the answers and their record
        cycle.store.delete(keys.result(1))
        cycle.store.delete(keys.manifest(1))
        assert cycle.run() == Ending.COMPLETED
        assert len(server.asked) == asked
        assert cycle.records() == records


def test_a_model_that_is_down_ends_the_attempt_and_nothing_stands_in_for_its_answers(tmp_path: Path) -> None:
    with GoldServer(key="sk-test") as server:
        cycle = GoldCycle(tmp_path, server.url)
        server.faults.extend([status(401)] * 100)
        assert cycle.run() == Ending.FAILED
    (event,) = cycle.outbox.events
    assert event["reason"] == "gold_unavailable"
    assert "key" in event["detail"]
    assert not list(cycle.store.list(keys.run(1) + "gold"))
    assert CODEC.parse(cycle.store.get(keys.state(1)).data).status == Status.TRAINING  # the launcher moves it
