"""Settings of gold that cannot work are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.gold import GoldConfig

CONFIG = GoldConfig(base_url="https://api.mistral.ai/v1", model="small-1")


def with_fields(**fields: Any) -> GoldConfig:
    return GoldConfig(**CONFIG.model_dump() | fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"base_url": "https://user:key@host/v1"}, "put the key into the variable"),
        ({"base_url": "https://host/v1?key=secret"}, "put the key into the variable"),
        ({"base_url": "https://host/v1/chat/completions"}, "leave out its last two parts"),
        ({"base_url": "https:///v1"}, "expected https://host"),
        ({"base_url": "https://host:port/v1"}, "base_url"),
        ({"temperature": 0.0}, "expected more than 0 with several samples"),
        ({"budget": {"max_usd": 1.0}}, "expected a price to count with"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        with_fields(**fields)


def test_an_address_is_known_without_its_last_slash() -> None:
    assert with_fields(base_url="https://host/v1/").base_url == "https://host/v1"
    assert with_fields(temperature=0.0, samples=1).temperature == 0.0
