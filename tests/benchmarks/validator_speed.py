"""A verdict on 100,000 utterances: time and peak memory of a fresh process, from the stored documents to report, page and closure.

Beside it the naive way on the same texts: jiwer called once for each utterance, model and measure, which gives the error rates alone. It is
measured on a part of the utterances and multiplied. Where other work shares the machine, only processor times compare.
Run as `python -m tests.benchmarks.validator_speed`.
"""

import json
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

UTTERANCES, SPEAKERS = 100_000, 20_000
NAIVE = 2_000
LIMIT_S, LIMIT_MIB = 60.0, 512.0
WORDS = [f"{first}{last}" for first in ("ba", "de", "mil", "stra", "kon") for last in ("lo", "ren", "tisch", "gel", "sum", "dar")]


def texts(rng: random.Random, utterances: int) -> Iterator[tuple[str, str, str]]:
    """Yield what was said, and what two models heard: 15% and 12% of the words otherwise."""
    for _ in range(utterances):
        said = rng.choices(WORDS, k=rng.randint(4, 14))
        before, after = (" ".join(rng.choice(WORDS) if rng.random() < rate else word for word in said) for rate in (0.15, 0.12))
        yield " ".join(said), before, after


def write_cycle(folder: Path, utterances: int, speakers: int) -> None:
    """Write all documents of a trained cycle into a folder store."""
    from shared import keys
    from shared.dir_store import DirStore
    from shared.documents import document_bytes, sha256_hex
    from shared.manifest import ModelManifest
    from shared.training import BaseModelRef, ClipSet, EvaluationRef, ObjectRef, TrainingResult, TrainingSpec

    store, rng, now = DirStore(folder), random.Random(1), datetime(2026, 1, 5, tzinfo=UTC)

    def stored(key: str, data: bytes) -> ObjectRef:
        store.put(key, data)
        return ObjectRef(key=key, sha256=sha256_hex(data))

    def lines(rows: Iterator[dict[str, object]]) -> bytes:
        return b"".join(json.dumps({name: value for name, value in row.items() if value is not None}).encode() + b"\n" for row in rows)

    said = list(texts(rng, utterances))
    known = [
        {
            "utterance_id": f"call-{number:06}/utterance-{number % 7}",
            "cluster": f"{number % speakers:032x}",
            "stratum": "errors" if number % 3 == 0 else "traffic",
            "reference": said[number][0],
        }
        for number in range(utterances)
    ]
    pin = {"uri": "gs://retune-production/corpora/audio/" + "0" * 64, "generation": 1, "crc32c": "AAAAAA==", "size_bytes": 96_044}
    told = {"provenance": "human", "duration_s": 3.5, "language": "de"}
    clips = lines(
        {
            **row,
            **told,
            "audio": pin,
            "weight": 1.0 if row["stratum"] == "errors" else 10.0,
            "device": ("headset", "telephone", "car")[number % 3],
            "error_type": f"kind-{number % 8}" if row["stratum"] == "errors" else None,
            "noise": float(number % 30),
        }
        for number, row in enumerate(known)
    )
    heard = lines({**row, "base_hypothesis": said[n][1], "candidate_hypothesis": said[n][2]} for n, row in enumerate(known))
    dataset = lines(
        {
            "event_id": f"event-{n}",
            "kind": "error",
            "origin": "fresh",
            "occurred_at": "2026-01-05T09:00:00Z",
            "utterance_id": row["utterance_id"],
            "hypothesis": said[n][1],
            "reference": said[n][0],
            "audio": pin,
            "split": "train",
        }
        for n, row in enumerate(known)
    )
    base, model = (
        stored(
            keys.manifest(version),
            document_bytes(ModelManifest(version=version, origin="trained", created_at=now, files=(), learned=(version,))),
        )
        for version in (0, 1)
    )
    clip_set = ClipSet(name="holdout", role="judge", ref=stored(keys.clips(1, "holdout"), clips), clips=utterances)
    spec = TrainingSpec(
        cycle=1,
        created_at=now,
        base=BaseModelRef(version=0, manifest=base),
        dataset=stored(keys.dataset(1), dataset),
        sets=(clip_set,),
        audio_prefixes=("gs://retune-production",),
    )
    result = TrainingResult(
        cycle=1,
        attempt=1,
        finished_at=now,
        spec_sha256=stored(keys.spec(1), document_bytes(spec)).sha256,
        base=spec.base,
        manifest=model,
        evaluations=(EvaluationRef(name="holdout", ref=stored(keys.evaluation(1, "holdout"), heard), rows=utterances),),
        set_aside=(),
        lambda_trials=(),
        scale=1.0,
        train={},
    )
    store.put(keys.result(1), document_bytes(result))


def judge_once(folder: Path) -> dict[str, float | str]:
    """Judge the cycle in this process, as the function would; return its time and peak memory."""
    import google.cloud.pubsub_v1
    import google.cloud.storage  # noqa: F401  # what the function has loaded by then

    import functions.validator.main  # noqa: F401
    from functions.runtime import Ports
    from functions.validator.judge import judge
    from functions.validator.report import render_html
    from shared.clock import SystemClock
    from shared.config import Settings
    from shared.dir_store import DirStore
    from shared.documents import lines_bytes
    from shared.policy import Policy, ValidationPolicy
    from shared.testing.memory_bus import MemoryBus
    from shared.verdict import dump_report

    clock = SystemClock()
    policy = Policy(validation=ValidationPolicy(critical_terms=("milren", "stradar konlo", "balo")))
    settings = Settings(bucket=f"file://{folder}", project="bench", audio_prefixes=("gs://retune-production",), policy=policy)
    started, computed = perf_counter(), process_time()
    report, closed = judge(Ports(DirStore(folder), MemoryBus(clock), clock, settings), 1)
    written = len(dump_report(report)) + len(render_html(report)) + len(lines_bytes(closed))
    return {
        "verdict": report.verdict,
        "wall_s": perf_counter() - started,
        "cpu_s": process_time() - computed,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "written_bytes": written,
    }


def naive(said: list[tuple[str, str, str]]) -> float:
    """Return the seconds of processor time that WER and CER of both models take, one call of jiwer each."""
    import jiwer

    from shared.normalisation import normalise

    started = process_time()
    for reference, *heard in said:
        for text in heard:
            jiwer.process_words(normalise(reference), normalise(text))
            jiwer.process_characters(normalise(reference), normalise(text))
    return process_time() - started


def main() -> None:
    """Print and store what was measured."""
    with TemporaryDirectory() as folder:
        write_cycle(Path(folder), UTTERANCES, SPEAKERS)
        command = [sys.executable, "-m", "tests.benchmarks.validator_speed", folder]
        measured = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
    naive_s = naive(list(texts(random.Random(1), NAIVE))) * UTTERANCES / NAIVE
    print(f"utterances: {UTTERANCES}")
    print(f"verdict_wall: {measured['wall_s']:.1f} s (limit {LIMIT_S:.0f})")
    print(f"verdict_cpu: {measured['cpu_s']:.1f} s")
    print(f"peak_memory: {measured['peak_mib']:.0f} MiB (limit {LIMIT_MIB:.0f})")
    print(f"naive_jiwer_rates_alone_cpu: {naive_s:.1f} s (extrapolated from {NAIVE} utterances)")
    out = Path("bench-results")
    out.mkdir(exist_ok=True)
    document = {
        "utterances": UTTERANCES,
        "speakers": SPEAKERS,
        **measured,
        "naive_jiwer_rates_alone_cpu_s": naive_s,
        "naive_measured_on": NAIVE,
    }
    (out / "validator_speed.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(judge_once(Path(sys.argv[1]))))
    else:
        main()
