"""How often gates and slices refuse a model that fails exactly as often as the one in production, and one that is better.

Both models hear each word wrongly, not at all or with another beside it at their own speaker's rate, and now and then nothing, a loop or an
invention; critical terms and five kinds of slices are watched. Every refusal of an equal model is a false alarm; so is one of a better
model. Run as `python -m tests.benchmarks.gate_false_alarms [TRIALS]`.
"""

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from functions.validator.gates import judge_failures
from functions.validator.judged_set import judge_set
from functions.validator.rules import GatePolicy
from functions.validator.slices import judge_slices
from shared.audio_source import AudioPin
from shared.normalisation import BASIC
from shared.training import Clip, EvaluationRow

TRIALS = 200
SPEAKERS, CLIPS = 40, 10
TERMS = (("w3",), ("w7", "w8"), ("w20",))
AUDIO = AudioPin(uri="gs://calls/u.wav", generation=1, crc32c="AAAAAA==", size_bytes=1)


@dataclass(frozen=True)
class Ear:
    """A model: its rate of wrong words and of whole utterances that fail in one of three ways."""

    wrong: float = 0.15
    failing: float = 0.02

    def hear(self, said: list[str], factor: float, rng: np.random.Generator) -> str:
        """Return what it hears of an utterance of a speaker whom it understands `factor` times as badly as others."""
        if rng.random() < self.failing:
            return ("", " ".join([*said, *["so"] * 4]), " ".join([*said, "thank", "you", "all"]))[rng.integers(3)]
        heard: list[str] = []
        for word, chance, kind in zip(said, rng.random(len(said)), rng.integers(3, size=len(said)), strict=True):
            if chance >= self.wrong * factor:
                heard.append(word)
            elif kind < 2:  # another word, or one more
                heard += [f"w{rng.integers(40)}"] if kind == 0 else [word, f"w{rng.integers(40)}"]
        return " ".join(heard)


@dataclass(frozen=True)
class Alarms:
    """Share of trials that were refused by any gate, by any slice, by either."""

    gates: float
    slices: float
    either: float


def alarm_rates(candidate: Ear, trials: int, seed: int) -> Alarms:
    """Simulate holdouts of production's model and the candidate."""
    rng, policy = np.random.default_rng(seed), GatePolicy(critical_terms=TERMS)
    refused = np.zeros((trials, 2), dtype=bool)
    for trial in range(trials):
        clips, rows = [], []
        for number in range(SPEAKERS * CLIPS):
            said = [f"w{word}" for word in rng.integers(40, size=rng.integers(4, 15))]
            if number % CLIPS == 0:
                before, after = np.exp(rng.normal(0.0, 0.3, size=2))
            clip = Clip(
                utterance_id=f"u{number}",
                cluster=f"s{number // CLIPS}",
                stratum="traffic",
                audio=AUDIO,
                reference=" ".join(said),
                provenance="human",
                error_type=f"e{rng.integers(4)}",
                language=("de", "en")[number // CLIPS % 2],
                device=f"d{number // CLIPS % 5}",
                noise=float(rng.uniform(0, 30)),
                duration_s=float(rng.uniform(1, 20)),
            )
            clips.append(clip)
            heard = {"base_hypothesis": Ear().hear(said, before, rng), "candidate_hypothesis": candidate.hear(said, after, rng)}
            same = {name: getattr(clip, name) for name in ("utterance_id", "cluster", "stratum", "reference")}
            rows.append(EvaluationRow.model_validate({**same, **heard}))
        holdout = judge_set("holdout", clips, rows, [], BASIC, policy.critical_terms)
        refused[trial] = (
            any(finding is not None for _, finding in judge_failures([holdout], policy, seed=trial)),
            bool(judge_slices(holdout, policy, seed=trial)[1]),
        )
    return Alarms(gates=float(refused[:, 0].mean()), slices=float(refused[:, 1].mean()), either=float(refused.any(axis=1).mean()))


def main() -> None:
    """Print and store the table."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    ears = {"equal": Ear(), "better_by_20_percent": replace(Ear(), wrong=0.12)}
    results = {name: alarm_rates(ear, trials, seed=1) for name, ear in ears.items()}
    for name, rates in results.items():
        for rule, value in asdict(rates).items():
            print(f"{name}.refused_by_{rule}: {value:.3f} of_trials")
    out = Path("bench-results")
    out.mkdir(exist_ok=True)
    document = {"alpha": GatePolicy().alpha, "trials": trials, "results": {name: asdict(rates) for name, rates in results.items()}}
    (out / "gate_false_alarms.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
