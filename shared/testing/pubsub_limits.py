"""What Pub/Sub takes: names, settings and sizes. Pure."""

import re
from collections.abc import Collection, Sequence

from shared.errors import InvalidMessage, NotFound
from shared.testing.pubsub_queue import Draft, SubscriptionConfig

MAX_MESSAGE_BYTES = 10_000_000
_NAME = re.compile(r"projects/[^/]+/(topics|subscriptions)/(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_ENDPOINT = re.compile(r"https?://[^/?#\s:]+(:\d{1,5})?([/?]\S*)?")


def check_name(name: str, collection: str) -> None:
    """Check a full resource name of `topics` or `subscriptions`.

    Raises:
        InvalidMessage: it is none: an id has 3-255 characters, a letter first, and does not begin with `goog`.
    """
    match = _NAME.fullmatch(name)
    if not match or match[1] != collection:
        raise InvalidMessage(f"Invalid {collection} name: expected projects/<project>/{collection}/<3-255 characters>, found {name}")


def check_settings(config: SubscriptionConfig, topics: Collection[str]) -> None:
    """Check a subscription's settings, where these topics exist.

    Raises:
        NotFound: its dead-letter topic does not exist.
        InvalidMessage: a setting is out of bounds.
    """
    if not 0 < config.ack_deadline_s <= 600:
        raise InvalidMessage(f"{config.name}: expected an ack deadline of 1-600 s, found {config.ack_deadline_s}")
    if config.backoff and not 0 <= config.backoff.min_s <= config.backoff.max_s <= 600:
        raise InvalidMessage(f"{config.name}: expected 0 <= minimum <= maximum back-off <= 600 s, found {config.backoff}")
    if config.push_endpoint and not _ENDPOINT.fullmatch(config.push_endpoint):
        raise InvalidMessage(f"{config.name}: expected an http(s) URL to push to, found {config.push_endpoint}")
    if config.dead_letter:
        if not 5 <= config.dead_letter.max_attempts <= 100:
            raise InvalidMessage(f"{config.name}: expected 5-100 delivery attempts, found {config.dead_letter.max_attempts}")
        if config.dead_letter.topic not in topics:
            raise NotFound(f"Dead letter topic not found: {config.dead_letter.topic}")


def check_drafts(drafts: Sequence[Draft]) -> None:
    """Check messages before they are published.

    Raises:
        InvalidMessage: one has neither data nor attributes, or is too large.
    """
    for draft in drafts:
        if not draft.data and not draft.attributes:
            raise InvalidMessage("Some messages are empty: expected data or attributes, found neither")
        if len(draft.data) > MAX_MESSAGE_BYTES:
            raise InvalidMessage(f"Message too large: expected at most {MAX_MESSAGE_BYTES} bytes, found {len(draft.data)}")
