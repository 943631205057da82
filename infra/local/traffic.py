"""Synthetic calls with real errors: spoken by espeak-ng, sent over a telephone line, transcribed by the stable model.

    python -m infra.local.traffic --errors 300

It talks to the stack that the environment names, as a customer's service would: through retune_client. What it reports
are the stable model's own mistakes, with what was said as a person's reference; a quarter of all calls is sampled.
"""

import argparse
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from retune_client import ErrorReporter
from retune_client import Utterance as Reported
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infra.errors import Refused
from infra.local.corpus import Domain, Utterance, callers, make_utterance
from infra.local.speech import write_wav
from shared import keys
from shared.alias import find_production
from shared.config import Settings
from shared.documents import sha256_hex
from shared.ids import version_name
from shared.normalisation import normalise
from shared.objectstore import ObjectStore
from shared.stores import open_store
from shared.terminal import say
from shared.training import ObjectRef
from trainer.augment.acoustics import SAMPLE_RATE_HZ

SAMPLE_RATE = 0.25
PHONE_SHARE = 0.5
"""The rest is what the baseline knows: without calls that nobody reports there is nothing to judge a new model on."""

BATCH = 40
MOST_CALLS_PER_ERROR = 20
"""A model that makes fewer mistakes than one call in so many has nothing to learn from these calls."""

FLUSH_S = 60.0


@dataclass(frozen=True)
class Traffic:
    """What was sent.

    Attributes:
        calls: utterances transcribed.
        errors: those with a mistake, reported.
    """

    calls: int
    errors: int
    samples: int


def stable_model(store: ObjectStore) -> int:
    """Return the stable version.

    Raises:
        Refused: there is none.
    """
    production = find_production(store)
    if production is None or production.stable is None:
        raise Refused("no model is stable: its transcripts are what is reported; run `retune models import DIR|HUB_ID --promote`")
    return production.stable


def calls(seed: int) -> Iterator[Utterance]:
    """Yield calls for ever, by people whom the shipped baseline never heard: some from the office, some over the telephone."""
    people = callers()
    rng = np.random.default_rng(seed)
    while True:
        domain = Domain.CALL_CENTRE if rng.random() < PHONE_SHARE else Domain.CLEAN
        yield make_utterance(rng, domain, people[int(rng.integers(len(people)))])


def send(settings: Settings, errors: int, progress: Progress) -> Traffic:
    """Send calls until `errors` of them were transcribed wrongly and reported.

    Raises:
        Refused: no model is stable, or it makes too few mistakes.
    """
    from trainer.attempt.spec import fetch_model
    from trainer.process import hush_transformers
    from trainer.recogniser import Recogniser

    hush_transformers()
    store = open_store(settings.bucket)
    version = stable_model(store)
    run = uuid.uuid4().hex[:12]
    source = calls(int(run, 16))
    task = progress.add_task(f"errors of {version_name(version)}", total=errors)
    with TemporaryDirectory(prefix="retune-traffic-") as scratch, ErrorReporter(settings.project, sample_rate=SAMPLE_RATE) as reporter:
        manifest = keys.manifest(version)
        fetch_model(store, ObjectRef(key=manifest, sha256=sha256_hex(store.get(manifest).data)), Path(scratch) / "model")
        recogniser = Recogniser.load(Path(scratch) / "model")
        line = _Line(open_store(settings.audio_prefixes[0]), reporter, version, f"synthetic/{run}", Path(scratch))
        sent = wrong = 0
        while wrong < errors:
            if sent >= MOST_CALLS_PER_ERROR * max(errors, BATCH):
                raise Refused(f"{version_name(version)} made {wrong} mistakes in {sent} calls: too few to collect {errors}")
            batch = [next(source) for _ in range(BATCH)]
            heard = recogniser.transcribe([call.audio for call in batch])
            for call, hypothesis in zip(batch, heard, strict=True):
                if wrong < errors:
                    wrong += line.report(sent, call, hypothesis)
                    sent += 1
            progress.update(task, completed=wrong)
        if not reporter.flush(FLUSH_S):
            raise Refused(f"not everything was published within {FLUSH_S:g} s: {reporter.stats()}")
        return Traffic(calls=sent, errors=wrong, samples=reporter.stats().sampled)


@dataclass(frozen=True)
class _Line:
    """Where calls are recorded and reported."""

    recordings: ObjectStore
    reporter: ErrorReporter
    version: int
    folder: str
    scratch: Path

    def report(self, number: int, call: Utterance, hypothesis: str) -> bool:
        """Record a call, count it, and report it if its transcript is wrong; tell whether it was."""
        key = f"{self.folder}/{number:05d}.wav"
        wav = self.scratch / "call.wav"
        write_wav(wav, call.audio)
        self.recordings.put_file(key, wav)
        utterance = Reported(
            utterance_id=key,
            audio_uri=f"{self.recordings.uri}/{key}",
            hypothesis=hypothesis,
            model_version=self.version,
            speaker_id=call.caller.speaker_id,
            duration_s=call.audio.size / SAMPLE_RATE_HZ,
            language="en",
        )
        self.reporter.observe(utterance)
        if normalise(hypothesis) == normalise(call.text):
            return False
        self.reporter.report_error(utterance, error_type="synthetic", reference=call.text, reference_provenance="human")
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Send traffic to the stack that the environment names; 0 when all of it was published."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.traffic", description="Synthetic calls with real errors.")
    parser.add_argument("--errors", type=int, required=True, help="how many wrong transcripts to report")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            sent = send(Settings.from_env(), chosen.errors, progress)
    except Refused as error:
        say(error, err=True)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"{sent.calls} calls, {sent.errors} errors reported, {sent.samples} calls sampled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
