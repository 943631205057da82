"""The generated JSON Schemas are the goldens that other teams build against, and old messages still parse."""

import json
from pathlib import Path

import pytest

from shared.bus import Message
from shared.events import EVENT_TYPES, TOPIC_OF, TOPICS
from shared.messages import parse_event
from shared.schemas import FOLDER, rendered, schemas
from shared.testing.clock import START

GOLDENS = Path(__file__).parent.parent / "data" / "events"


def test_the_schema_files_are_those_of_the_classes() -> None:
    expected = {name: rendered(schema) for name, schema in schemas().items()}
    found = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert found == expected, "run `make schemas` and look at what changed"


def test_every_event_has_a_topic_and_a_golden() -> None:
    assert set(TOPIC_OF) == set(EVENT_TYPES)
    assert set(TOPIC_OF.values()) == set(TOPICS)
    assert {path.stem.split("-")[0] for path in GOLDENS.glob("*.json")} == set(EVENT_TYPES)


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*.json")), ids=lambda path: path.stem)
def test_a_message_of_an_earlier_release_still_parses(path: Path) -> None:
    event_type, version = path.stem.split("-v")
    golden = json.loads(path.read_text(encoding="utf-8"))
    event = parse_event(Message(json.dumps(golden).encode(), {"type": event_type, "v": version}, "1", START))
    assert json.loads(event.model_dump_json(exclude_none=True)) == {**golden, "type": event_type}
