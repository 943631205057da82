"""A deliberately bad model, and how long it serves until the guard has it withdrawn.

It is brought in by an override, as a person does who is sure and wrong: no evidence would carry it.
"""

import json
import shutil
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from safetensors.numpy import load_file, save_file

from functions.runtime import Ports
from functions.sweeper.watch import find_watch
from infra.local.baseline import MODEL_DIR
from infra.local.corpus import Utterance
from infra.local.demo.narrate import DemoTimeout
from infra.local.demo.service import Call, SpeechService
from infra.models.importing import import_model
from infra.people import Person

TIMEOUT_S = 240.0
CALLS_BEFORE = 200
"""Served by the good version, so that there is something to compare with."""


@dataclass(frozen=True)
class BadModel:
    """What the bad model did.

    Attributes:
        version: its number.
        calls: it served before it was withdrawn.
        seconds: from its promotion until the service served the version before it again.
        reason: of the rollback, as it stands in the audit log.
    """

    version: int
    calls: int
    seconds: float
    reason: str


def write_bad_model(folder: Path) -> Path:
    """Write the shipped model with its letters exchanged: it hears what was said and spells it wrong."""
    shutil.copytree(MODEL_DIR, folder)
    vocabulary: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    letters = sorted(index for token, index in vocabulary.items() if token in string.ascii_letters)
    weights = load_file(folder / "model.safetensors")
    for name in ("lm_head.weight", "lm_head.bias"):
        weights[name][letters] = np.roll(weights[name][letters], 1, axis=0)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def serve_bad_model(ports: Ports, service: SpeechService, batches: Iterator[list[Utterance]], folder: Path, console: Console) -> BadModel:
    """Promote the bad model by an override and go on serving until the sweeper's guard has it rolled back.

    Raises:
        DemoTimeout: the guard did not act in time.
    """
    good = service.router.choose("before").version
    served: list[Call] = []
    while sum(call.version == good for call in served) < CALLS_BEFORE:
        served += service.serve(next(batches))
    service.reporter.flush(30.0)
    who = Person(by="retune demo", reason="it did so well on my own recordings")
    bad = import_model(ports, str(write_bad_model(folder)), who, make_stable=True, tell=lambda text: console.print(f"  {text}")).version
    if not service.router.wait_for(bad, timeout=60.0):
        raise DemoTimeout(f"expected the service to load v{bad}, found {service.router.status()}")
    console.print(f"  v{bad} is stable on a person's word, and serves every call", highlight=False)
    started, calls = time.monotonic(), 0
    while service.router.choose("after").version == bad:
        if time.monotonic() - started > TIMEOUT_S:
            raise DemoTimeout(f"expected the guard to roll v{bad} back within {TIMEOUT_S:.0f} s, and it did not: see the sweeper's log")
        calls += sum(call.version == bad for call in service.serve(next(batches)))
    watch = find_watch(ports, bad)
    reason = watch.verdict.reason if watch is not None else ""
    found = BadModel(bad, calls, time.monotonic() - started, reason)
    console.print(f"  the guard rolled v{bad} back after {found.seconds:.0f} s and {calls} calls: {reason}", highlight=False)
    return found
