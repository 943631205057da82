"""The two metrics of Cloud Monitoring that tell how much waits in subscriptions, as they are at this moment."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from infra.local.pubsub_server.resources import Unsupported
from shared.errors import InvalidMessage
from shared.testing.pubsub_engine import PubSubEngine, rfc3339

PATH = re.compile(r"/v3/projects/(?P<project>[^/]+)/timeSeries")
_METRIC = re.compile(r'metric\.type\s*=\s*"pubsub\.googleapis\.com/subscription/(\w+)"')
_NAMES = re.compile(r'resource\.labels\.subscription_id\s*=\s*monitoring\.regex\.full_match\("([^"]*)"\)')
NUMBERS = ("num_undelivered_messages", "oldest_unacked_message_age")


def time_series(engine: PubSubEngine, project: str, query: str) -> dict[str, Any]:
    """Answer `projects.timeSeries.list` for one of these metrics: one point for each subscription.

    Raises:
        InvalidMessage: the filter names no metric, or its pattern is none.
        Unsupported: it asks for another metric.
    """
    options = parse_qs(query)
    wanted = options.get("filter", [""])[0]
    metric, names = _METRIC.search(wanted), _NAMES.search(wanted)
    if metric is None or not {"interval.startTime", "interval.endTime"} <= options.keys():
        raise InvalidMessage(f"timeSeries.list: expected a metric of Pub/Sub's and an interval, found {wanted!r}")
    if metric[1] not in NUMBERS:
        raise Unsupported(f"not supported by the local server: the metric {metric[1]}")
    try:
        pattern = re.compile(names[1] if names else ".*")
    except re.error as error:
        raise InvalidMessage(f"timeSeries.list: expected a regular expression, found {error}") from error
    return {"timeSeries": list(_series(engine, project, metric[1], pattern))}


def _series(engine: PubSubEngine, project: str, metric: str, pattern: re.Pattern[str]) -> Iterator[dict[str, Any]]:
    now = engine.now()
    for config in engine.subscriptions():
        owner, _, name = config.name.rpartition("/subscriptions/")
        if owner == f"projects/{project}" and pattern.fullmatch(name):
            moment = rfc3339(now)
            yield {
                "metric": {"type": f"pubsub.googleapis.com/subscription/{metric}"},
                "resource": {"type": "pubsub_subscription", "labels": {"project_id": project, "subscription_id": name}},
                "metricKind": "GAUGE",
                "valueType": "INT64",
                "points": [
                    {
                        "interval": {"startTime": moment, "endTime": moment},
                        "value": {"int64Value": str(_value(engine, config.name, metric, now))},
                    }
                ],
            }


def _value(engine: PubSubEngine, subscription: str, metric: str, now: datetime) -> int:
    if metric == "num_undelivered_messages":
        return engine.backlog(subscription)
    oldest = engine.oldest(subscription)
    return 0 if oldest is None else max(0, int((now - oldest).total_seconds()))
