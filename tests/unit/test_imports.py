"""What a function loads before its first request: the start of an instance is paid by whoever waits for it."""

import json
import os
import subprocess
import sys

import pytest

from functions.wiring import OPTIONAL, READS
from infra.bundle import ROOT

TRAINER_ONLY = {"torch", "transformers", "peft", "soundfile"}
TRACES = {"opentelemetry.sdk", "opentelemetry.exporter"}
"""Loaded only where traces are on."""
LATER = {"google.cloud.compute_v1", "google.cloud.storage", "google.cloud.pubsub_v1", "grpc", "scipy"}
"""Loaded at the first request that needs them."""
STATISTICS = {"numpy", "scipy", "jiwer", "rapidfuzz"}
FUNCTIONS = (*READS, *OPTIONAL)
FORBIDDEN = {function: TRAINER_ONLY | TRACES | LATER | (set() if function == "validator" else STATISTICS) for function in FUNCTIONS}
PROGRAM = "import functions.{function}.main, json, sys; print(json.dumps(sorted(sys.modules)))"


def loaded(function: str) -> set[str]:
    command = [sys.executable, "-c", PROGRAM.format(function=function)]
    return set(json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout))


QUICK = [
    "infra.cli",
    "infra.review",
    "trainer.shell.failures",
    "trainer.finetune.options",
    "trainer.gold.ask",
    "trainer.gold.check",
    "trainer.gold.transcribers",
    "trainer.attempt.spec",
]
"""Commands, what comes before the settings of torch, and what asks for gold."""


@pytest.mark.parametrize("module", QUICK)
def test_what_must_start_quickly_loads_neither_torch_nor_an_sdk(module: str) -> None:
    command = [sys.executable, "-c", f"import {module}, json, sys; print(json.dumps(sorted(sys.modules)))"]
    modules = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout)
    assert module in modules
    assert {"torch", "transformers", "peft", "openai"} & set(modules) == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_functions_entry_point_loads_nothing_that_it_may_not_need(function: str) -> None:
    modules = loaded(function)
    assert f"functions.{function}.handler" in modules
    assert FORBIDDEN[function] & modules == set()


BUILT = "import functions.{function}.main as main, json, sys; main.build(); print(json.dumps(sorted(sys.modules)))"


def built(function: str, **environ: str) -> set[str]:
    settings = {"RETUNE_BUCKET": "gs://bucket", "GOOGLE_CLOUD_PROJECT": "project", "RETUNE_AUDIO_PREFIXES": "gs://calls", **environ}
    command = [sys.executable, "-c", BUILT.format(function=function)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("function", READS)
def test_the_first_request_of_a_function_loads_no_more_than_its_ports(function: str) -> None:
    modules = built(function)
    assert {"google.cloud.storage", "google.cloud.pubsub_v1"} <= modules
    assert (FORBIDDEN[function] - LATER | {"google.cloud.compute_v1", "scipy"}) & modules == set()


@pytest.mark.parametrize("people", [{}, {"RETUNE_CONSOLE_LOCAL_USER": "ana"}])
def test_a_console_loads_pubsub_only_where_somebody_may_act_and_else_has_nothing_to_publish_with(people: dict[str, str]) -> None:
    environ = {"RETUNE_BUCKET": "gs://bucket", "GOOGLE_CLOUD_PROJECT": "project", "RETUNE_AUDIO_PREFIXES": "gs://calls", **people}
    program = (
        "import functions.dashboard.main as main, json, sys; early = list(sys.modules); console = main.build();"
        "print(json.dumps([type(console.ports.publisher).__name__, early, sorted(sys.modules)]))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=True)
    publisher, early, modules = json.loads(done.stdout)
    assert publisher == ("PubSubBus" if people else "Silent")
    assert ("google.cloud.pubsub_v1" in modules) == bool(people)
    assert (TRAINER_ONLY | LATER | STATISTICS) & set(early) == set()


def test_where_traces_are_on_the_first_request_loads_their_sdk() -> None:
    modules = built("deployer", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert modules >= TRACES
