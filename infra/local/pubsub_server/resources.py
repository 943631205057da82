"""Between the service's messages (raw protobuf: ten times as quick as proto-plus) and the engine's values."""

from datetime import UTC, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import types

from shared.errors import RetuneError
from shared.testing.pubsub_engine import rfc3339
from shared.testing.pubsub_queue import Backoff, DeadLetter, Leased, StoredMessage, SubscriptionConfig

RETENTION_S = 604_800
# What would change delivery. Taking it and delivering as if it were not there would be worse than a refusal.
_REFUSED = {
    "bigquery_config",
    "bigtable_config",
    "cloud_storage_config",
    "enable_exactly_once_delivery",
    "enable_message_ordering",
    "filter",
    "message_transforms",
    "retain_acked_messages",
}

PubsubMessage = types.PubsubMessage.pb()
ReceivedMessage = types.ReceivedMessage.pb()
Subscription = types.Subscription.pb()


class Unsupported(RetuneError):  # noqa: N818 - the taxonomy's names say the fact
    """The real service has this, the local one does not."""


def config_of(resource: Any) -> SubscriptionConfig:
    """Read the settings that the engine knows from a Subscription.

    Raises:
        Unsupported: the subscription asks for what would change delivery and is not built here.
    """
    found = {field.name for field, _ in resource.ListFields()} & _REFUSED
    if resource.push_config.HasField("no_wrapper"):
        found.add("push_config.no_wrapper")
    if found:
        raise Unsupported(f"{resource.name}: not supported by the local server: {', '.join(sorted(found))}")
    backoff = dead_letter = None
    if resource.HasField("retry_policy"):
        policy = resource.retry_policy
        backoff = Backoff(_seconds(policy, "minimum_backoff", 10.0), _seconds(policy, "maximum_backoff", 600.0))
    if resource.HasField("dead_letter_policy"):
        dead_letter = DeadLetter(resource.dead_letter_policy.dead_letter_topic, resource.dead_letter_policy.max_delivery_attempts or 5)
    return SubscriptionConfig(
        resource.name,
        resource.topic,
        ack_deadline_s=resource.ack_deadline_seconds or 10,
        backoff=backoff,
        dead_letter=dead_letter,
        push_endpoint=resource.push_config.push_endpoint,
        resource=resource.SerializeToString(),
    )


def resource_of(config: SubscriptionConfig) -> Any:
    """Write a Subscription: the engine's settings over what was stored of it (labels, token, expiration: kept, without effect)."""
    resource = Subscription.FromString(config.resource)
    resource.name, resource.topic = config.name, config.topic
    resource.ack_deadline_seconds = config.ack_deadline_s
    resource.push_config.SetInParent()
    resource.push_config.push_endpoint = config.push_endpoint
    if not resource.HasField("message_retention_duration"):
        resource.message_retention_duration.CopyFrom(_duration(RETENTION_S))
    if config.backoff:
        resource.retry_policy.minimum_backoff.CopyFrom(_duration(config.backoff.min_s))
        resource.retry_policy.maximum_backoff.CopyFrom(_duration(config.backoff.max_s))
    if config.dead_letter:
        resource.dead_letter_policy.dead_letter_topic = config.dead_letter.topic
        resource.dead_letter_policy.max_delivery_attempts = config.dead_letter.max_attempts
    return resource


def received(leased: Leased, config: SubscriptionConfig) -> Any:
    """Write a ReceivedMessage; the delivery attempt is told only where there is a dead-letter policy, as the service does."""
    attempt = leased.attempt if config.dead_letter else 0
    return ReceivedMessage(ack_id=leased.ack_id, message=message_of(leased.message), delivery_attempt=attempt)


def message_of(stored: StoredMessage) -> Any:
    """Write a PubsubMessage."""
    message = PubsubMessage(data=stored.data, attributes=stored.attributes, message_id=stored.message_id, ordering_key=stored.ordering_key)
    message.publish_time.FromDatetime(stored.publish_time)
    return message


def stored_of(message: Any) -> StoredMessage:
    """Read what `message_of` has written."""
    published = message.publish_time.ToDatetime(tzinfo=UTC)
    return StoredMessage(message.message_id, message.data, dict(message.attributes), published, message.ordering_key)


def push_envelope(leased: Leased, config: SubscriptionConfig, data: str) -> dict[str, Any]:
    """Write the JSON object that a push endpoint receives; `data` is the payload in base64.

    Source: https://cloud.google.com/pubsub/docs/push#receive_push (both spellings of id and time are the service's).
    """
    published = rfc3339(leased.message.publish_time)
    message: dict[str, Any] = {
        "attributes": dict(leased.message.attributes),
        "data": data,
        "messageId": leased.message.message_id,
        "message_id": leased.message.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if leased.message.ordering_key:
        message["orderingKey"] = leased.message.ordering_key
    envelope: dict[str, Any] = {"message": message, "subscription": config.name}
    if config.dead_letter:
        envelope["deliveryAttempt"] = leased.attempt
    return envelope


def _seconds(policy: Any, field: str, default: float) -> float:
    return float(getattr(policy, field).ToTimedelta().total_seconds()) if policy.HasField(field) else default


def _duration(seconds: float) -> Any:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration
