"""Three cycles on real speech, each from what the last one made: `python -m tests.e2e.three_cycles FOLDER` prints WERs as JSON.

In a process of its own: the synthesiser keeps its noise between calls, so that only the same calls in a fresh process give the same.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from infra.local.baseline import MODEL_DIR, TRAINING
from infra.local.corpus import Caller, Domain, Utterance, callers, make_utterance
from shared.clock import SystemClock
from shared.suites import DEFAULT_MARGIN
from shared.testing.paired import non_inferiority
from shared.training import SetRole, TrainingConfig
from shared.wer import ErrorCounts, count_word_errors_batch, pooled_wer
from shared.wer_compare import NonInferiority
from shared.wer_stats import PairedUtterance
from trainer.clips.load import UsableClip
from trainer.clips.sets import TrainingSets
from trainer.learning.export import export
from trainer.learning.sweep import decide_scale, sweep
from trainer.learning.train import TrainingRun, train
from trainer.network.model import AcousticModel, load_model
from trainer.recogniser import Recogniser
from trainer.shell.progress import Progress
from trainer.testing import usable_clips, wav_bytes

CYCLES = 3
CONFIG: TrainingConfig = TRAINING.model_copy(update={"replay_ratio": 3.0, "clean_margin": 0.005, "seed": 1})


class Office:
    """A service whose calls have moved to the telephone: callers who train, who tune, and whom nobody hears before the end."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(2)
        self.folder = folder
        people = callers(60)
        # in turn: the later ones speak timbres that came before in another accent, and are harder
        self.train = [caller for number, caller in enumerate(people) if number % 4 < 2]
        self.dev, self.judges = people[2::4], people[3::4]
        self.replay = self.say("r", Domain.CLEAN, self.train, 300)
        self.dev_replay = self.say("q", Domain.CLEAN, self.dev, 80)
        self.suite = self.say("s", Domain.CLEAN, self.judges, 120)
        self.calls = self.say("h", Domain.CALL_CENTRE, self.judges, 120)

    def say(self, name: str, domain: Domain, people: Sequence[Caller], count: int) -> dict[str, Utterance]:
        seed = sum(name.encode())
        return {f"{name}{n}": make_utterance(np.random.default_rng([seed, n]), domain, people[n % len(people)]) for n in range(count)}

    def load(self, model: AcousticModel, said: dict[str, Utterance], role: SetRole) -> list[UsableClip]:
        texts = {name: utterance.text for name, utterance in said.items()}
        audio = {name: wav_bytes(utterance.audio) for name, utterance in said.items()}
        return usable_clips(model, self.folder, texts, role=role, config=CONFIG, audio=audio)

    def errors(self, model: Path, said: dict[str, Utterance]) -> list[ErrorCounts]:
        heard = Recogniser.load(model, "cpu").transcribe([utterance.audio for utterance in said.values()])
        return count_word_errors_batch([utterance.text for utterance in said.values()], heard)

    def against_first(self, first: list[ErrorCounts], last: list[ErrorCounts]) -> NonInferiority:
        """Compare the suite before and after, speaker by speaker, with the margin that a suite has by default."""
        rows = [
            PairedUtterance(name, said.caller.speaker_id, "suite", 1.0, before.reference_words, before.errors, after.errors)
            for (name, said), before, after in zip(self.suite.items(), first, last, strict=True)
        ]
        compared = non_inferiority(rows, margin=DEFAULT_MARGIN, alpha=0.05)
        assert isinstance(compared, NonInferiority)
        return compared

    def cycle(self, number: int, base: Path) -> Path:
        model = load_model(base, torch.device("cpu"))
        sets = TrainingSets(
            self.load(model, self.say(f"e{number}-", Domain.CALL_CENTRE, self.train, 100), "train_errors"),
            self.load(model, self.replay, "train_replay"),
            self.load(model, self.say(f"d{number}-", Domain.CALL_CENTRE, self.dev, 48), "dev_errors"),
            self.load(model, self.dev_replay, "dev_replay"),
        )
        progress = Progress(self.folder / f"log-{number}.jsonl", SystemClock(), bars=False)
        tuned = train(model, sets, CONFIG, TrainingRun(progress))
        scale = decide_scale(sweep(tuned, progress), CONFIG.clean_margin).scale
        export(tuned.adapted, scale, base, self.folder / f"v{number}")
        return self.folder / f"v{number}"


def main(folder: Path) -> None:
    office = Office(folder)
    models = [MODEL_DIR]
    for number in range(1, CYCLES + 1):
        models.append(office.cycle(number, models[-1]))
    calls = [office.errors(model, office.calls) for model in models]
    suite = [office.errors(model, office.suite) for model in models]
    compared = [office.against_first(suite[0], later) for later in suite[1:]]
    found = {
        "calls": [pooled_wer(errors) for errors in calls],
        "suite": [pooled_wer(errors) for errors in suite],
        "suite_surely_worse": [each.worse for each in compared],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
