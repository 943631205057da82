"""Sets of utterances that two models heard, with a given number of word errors each, and the verdict on them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from functions.validator.changes import merge
from functions.validator.decide import Verdict, decide_verdict
from functions.validator.evidence import Evidence
from functions.validator.judged_set import JudgedSet, joined, judge_set
from functions.validator.rules import GatePolicy
from shared.audio_source import AudioPin
from shared.normalisation import BASIC
from shared.training import Clip, ClipProvenance, EvaluationRow, Stratum

WORDS = "one two three four five six seven eight nine ten"
AUDIO = AudioPin(uri="gs://calls/u.wav", generation=1, crc32c="AAAAAA==", size_bytes=1)


def heard(errors: int) -> str:
    """WORDS with its first `errors` words heard wrongly."""
    return " ".join(["wrong"] * errors + WORDS.split()[errors:])


def clip(
    name: str, *, stratum: Stratum = "errors", weight: float = 1.0, provenance: ClipProvenance = "human", reference: str = WORDS
) -> Clip:
    return Clip(
        utterance_id=name,
        cluster=name.partition("/")[0],
        stratum=stratum,
        audio=AUDIO,
        reference=reference,
        provenance=provenance,
        weight=weight,
    )


def row(of: Clip, base: str, candidate: str) -> EvaluationRow:
    return EvaluationRow(
        utterance_id=of.utterance_id,
        cluster=of.cluster,
        stratum=of.stratum,
        reference=of.reference,
        base_hypothesis=base,
        candidate_hypothesis=candidate,
    )


def part(
    errors: Sequence[tuple[int, int]],
    *,
    stratum: Stratum = "errors",
    weight: float = 1.0,
    provenance: ClipProvenance = "human",
    name: str = "holdout",
    speakers: int = 12,
) -> JudgedSet:
    """A set in which utterance i, of speaker i modulo `speakers`, has the given word errors before and after, of ten words."""
    clips = [
        clip(f"s{number % speakers}/{stratum}{number}", stratum=stratum, weight=weight, provenance=provenance)
        for number in range(len(errors))
    ]
    rows = [row(one, heard(base), heard(candidate)) for one, (base, candidate) in zip(clips, errors, strict=True)]
    return judge_set(name, clips, rows, [], BASIC)


def together(*parts: JudgedSet) -> JudgedSet:
    return replace(joined(parts, [None] * len(parts)), changes=merge(each.changes for each in parts))


FIXED = [(5, 2 + number % 2) for number in range(48)]  # 48 reported errors: half of the wrong words corrected
UNCHANGED = [(1, 1)] * 48
SPOILT = [(1, 3 + number % 2) for number in range(48)]
SAMPLE = part(UNCHANGED, stratum="traffic", weight=4.0)
HOLDOUT = together(part(FIXED), SAMPLE)
SUITE = part([(1, 1), (2, 1), (1, 2), (1, 1)] * 12, stratum="suite", name="names")
POLICY = GatePolicy(suite_margins={"names": 0.05})


def verdict(holdout: JudgedSet = HOLDOUT, *suites: JudgedSet, policy: GatePolicy = POLICY, **known: Any) -> Verdict:
    return decide_verdict(Evidence(holdout=holdout, suites=suites, **known), policy, seed=12)
