"""`docs/reference/`: every event and every object, from their classes and from `shared/keys.py`."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel

from functions.crossing import Declined
from functions.wiring import OPTIONAL, READS
from infra.pages.fields import cell, field_table, summary
from shared import keys
from shared.cases import Closed, Resolved
from shared.corpora import CorpusClip
from shared.cycle import CycleState
from shared.dataset import Row
from shared.events import EVENT_TYPES, TOPIC_OF, TOPICS
from shared.forgotten import Forgotten, Redaction
from shared.gold import GoldRecord
from shared.head import Head
from shared.ledger import Index
from shared.manifest import ModelManifest
from shared.policy import Policy
from shared.registry import Move, Production
from shared.suites import SuiteInfo
from shared.told import Told
from shared.training import Clip, EvaluationRow, Heartbeat, RunProgress, TrainingResult, TrainingSpec
from shared.verdict import ValidationReport
from shared.watch import Watch


class Stored(NamedTuple):
    """One kind of object: where it lies, who writes it, and of what class it is (`lines`: one a line)."""

    key: str
    writer: str
    document: type[BaseModel] | None = None
    lines: bool = False


PUBLISHERS = {
    "stt-errors": "the production service",
    "finetune-triggers": "collector, sweeper, people",
    "training-events": "trainer, sweeper, launcher",
    "validation-events": "validator",
    "model-commands": "people, sweeper",
    "model-events": "deployer, sweeper",
    "ticks": "a scheduler, every minute",
}
OUTSIDE = {"model-events": ["the production service (`ModelRouter`)"]}
DIGEST = "0" * 64
OBJECTS = (
    Stored(keys.segment(12, "TOKEN"), "collector: immutable; metadata carries the counts; one event a line"),
    Stored(keys.part(12, "TOKEN"), "sweeper: segments that were folded together"),
    Stored(keys.ledger_index(12), "sweeper, by compare-and-swap", Index),
    Stored(keys.HEAD, "launcher, by compare-and-swap", Head),
    Stored(keys.state(12), "launcher, trainer, validator, deployer, sweeper, by compare-and-swap", CycleState),
    Stored(keys.declined(12), "launcher", Declined),
    Stored(keys.dataset(12), "launcher, once", Row, lines=True),
    Stored(keys.told(12), "launcher, once", Told, lines=True),
    Stored(keys.former(12), "launcher, once: what cycles up to this one say of recordings, so that their datasets are not read again"),
    Stored(keys.clips(12, "NAME"), "launcher, once", Clip, lines=True),
    Stored(keys.policy(12, "SHA256"), "launcher, once", Policy),
    Stored(keys.spec(12), "launcher, once", TrainingSpec),
    Stored(keys.watch(12), "sweeper, by compare-and-swap", Watch),
    Stored(keys.heartbeat(12), "trainer", Heartbeat),
    Stored(keys.progress(12), "trainer", RunProgress),
    Stored(keys.train_log(12, 1), "trainer: one JSON object a line, with `at`, `phase`, `event` and figures"),
    Stored(keys.checkpoints(12), "trainer: what a later attempt goes on from"),
    Stored(keys.gold(12), "trainer, once", GoldRecord, lines=True),
    Stored(keys.evaluation(12, "SET"), "trainer, once", EvaluationRow, lines=True),
    Stored(keys.result(12), "trainer, once: its last word", TrainingResult),
    Stored(keys.report(12), "validator, once", ValidationReport),
    Stored(keys.report_html(12), "validator, once: the same for people"),
    Stored(keys.closure(12), "validator, once", Closed, lines=True),
    Stored(keys.manifest(12), "trainer or `retune models import`, once, after all files of the model", ModelManifest),
    Stored(keys.PRODUCTION, "deployer, by compare-and-swap", Production),
    Stored(keys.registry_log(7), "deployer, once for each move", Move),
    Stored(keys.SPLIT_KEY, "launcher, once: the key of the split; 32 random bytes"),
    Stored(keys.REPLAY, "`retune replay`, by compare-and-swap", CorpusClip, lines=True),
    Stored(keys.MEMORY, "sweeper, by compare-and-swap", CorpusClip, lines=True),
    Stored(keys.suite("NAME"), "`retune suite`, by compare-and-swap", CorpusClip, lines=True),
    Stored(keys.suite_info("NAME"), "`retune suite`, by compare-and-swap", SuiteInfo),
    Stored(keys.suite_version("NAME", "SHA256"), "`retune suite`, once for each version", CorpusClip, lines=True),
    Stored(keys.holdout(12), "launcher, once", Clip, lines=True),
    Stored(keys.resolved(12), "sweeper, once", Resolved),
    Stored(keys.audio("SHA256"), "launcher, `retune suite`, `retune replay`, once: audio that must stay"),
    Stored(keys.forgotten("TOKEN"), "`retune forget`", Forgotten),
    Stored(keys.redaction("NAME"), "`retune forget`", Redaction),
    Stored(keys.GOLD_ANSWERS, "trainer: what models answered, by the digest of the question"),
    Stored(keys.quarantine("2026-01-05", "FUNCTION-SHA256"), "every function: a refused message with `function`, `reason`, `at`, `body`"),
)
EVENTS_INTRODUCTION = """\
# Events

The data of a message is one JSON object. The attribute `type` names the event, `v` its schema version; what a person types needs neither.
Messages come at least once and in any order. Made from the classes by `make pages`; a test keeps it true. The JSON Schemas lie in
`shared/schemas/`.
"""
OBJECTS_INTRODUCTION = """\
# Objects

Everything that Retune keeps is in one bucket. One top folder has one writer, so that grants by folder are the wall. `000012` stands for the
number of a cycle, which is also the version of its model. Made from the classes by `make pages`; a test keeps it true.
"""


def pages() -> dict[str, str]:
    """Return the text of both pages by their paths in docs/."""
    return {
        "reference/events.md": "\n".join([EVENTS_INTRODUCTION, *_events()]),
        "reference/objects.md": "\n".join([OBJECTS_INTRODUCTION, *_objects()]),
    }


def _events() -> Iterator[str]:
    for topic in TOPICS:
        readers = ", ".join([name for name, topics in {**READS, **OPTIONAL}.items() if topic in topics] + OUTSIDE.get(topic, []))
        yield from (f"## Topic `{topic}`", "", f"Published by {PUBLISHERS[topic]}; read by {readers}.", "")
        for name, cls in EVENT_TYPES.items():
            if TOPIC_OF[name] == topic:
                yield from (f"### {name}", "", summary(cls), "", *field_table(cls), "")


def _objects() -> Iterator[str]:
    yield from ("| object | written by | form |", "|---|---|---|")
    for stored in OBJECTS:
        yield f"| `{stored.key}` | {cell(stored.writer)} | {_form(stored)} |"
    for cls in dict.fromkeys(stored.document for stored in OBJECTS if stored.document is not None):
        yield from ("", f"## {cls.__name__}", "", cell(summary(cls)), "", *field_table(cls))
    yield ""


def _form(stored: Stored) -> str:
    if stored.document is None:
        return ""
    link = f"[{stored.document.__name__}](#{re.sub('[^a-z0-9]', '', stored.document.__name__.lower())})"
    return f"{link}, one a line" if stored.lines else link
