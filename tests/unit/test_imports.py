"""What a function loads before its first request: the start of an instance is paid by whoever waits for it."""

import json
import os
import subprocess
import sys
from functools import cache

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
SETTINGS = {"RETUNE_BUCKET": "gs://bucket", "GOOGLE_CLOUD_PROJECT": "project", "RETUNE_AUDIO_PREFIXES": "gs://calls"}
START = "import functions.{function}.main as main, json, sys; early = list(sys.modules)"
TELL = "print(json.dumps([early, list(sys.modules)]))"


@cache
def loaded(function: str, **environ: str) -> tuple[set[str], set[str]]:
    """Return what a process has loaded before the first request of a function, and once its ports are built, if settings here can."""
    built = "main.build()" if function in READS else "pass"
    command = [sys.executable, "-c", "; ".join([START.format(function=function), built, TELL])]
    told = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **SETTINGS, **environ}, capture_output=True, text=True, timeout=60, check=True
    )
    early, late = json.loads(told.stdout)
    return set(early), set(late)


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


def test_what_must_start_quickly_loads_neither_torch_nor_an_sdk() -> None:
    """One after the other in one process: the first that brings one of them is told, and what it brought."""
    tell = "import importlib, json, sys; print(json.dumps([(importlib.import_module(name).__name__, list(sys.modules)) for name in sys.argv[1:]]))"
    told = subprocess.run([sys.executable, "-c", tell, *QUICK], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    heavy = {"torch", "transformers", "peft", "openai"}
    assert [(name, sorted(heavy & set(modules))) for name, modules in json.loads(told)] == [(name, []) for name in QUICK]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_functions_entry_point_loads_nothing_that_it_may_not_need(function: str) -> None:
    modules, _ = loaded(function)
    assert f"functions.{function}.handler" in modules
    assert FORBIDDEN[function] & modules == set()


@pytest.mark.parametrize("function", READS)
def test_the_first_request_of_a_function_loads_no_more_than_its_ports(function: str) -> None:
    _, modules = loaded(function)
    assert {"google.cloud.storage", "google.cloud.pubsub_v1"} <= modules
    assert (FORBIDDEN[function] - LATER | {"google.cloud.compute_v1", "scipy"}) & modules == set()


@pytest.mark.parametrize("people", [{}, {"RETUNE_CONSOLE_LOCAL_USER": "ana"}])
def test_a_console_loads_pubsub_only_where_somebody_may_act_and_else_has_nothing_to_publish_with(people: dict[str, str]) -> None:
    program = f"{START.format(function='dashboard')}; console = main.build(); print(json.dumps([type(console.ports.publisher).__name__, early, list(sys.modules)]))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **SETTINGS, **people}, capture_output=True, text=True, timeout=60, check=True
    )
    publisher, early, modules = json.loads(done.stdout)
    assert publisher == ("PubSubBus" if people else "Silent")
    assert ("google.cloud.pubsub_v1" in modules) == bool(people)
    assert (TRAINER_ONLY | LATER | STATISTICS) & set(early) == set()


def test_where_traces_are_on_the_first_request_loads_their_sdk() -> None:
    _, modules = loaded("deployer", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert modules >= TRACES
