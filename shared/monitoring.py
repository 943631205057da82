"""How much waits in subscriptions, as Cloud Monitoring measures it each minute [io].

Source: "Pub/Sub metrics" and `projects.timeSeries.list` of the Cloud Monitoring API, version 3.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import AwareDatetime

from shared.backlog import Backlog, NotTold
from shared.documents import Frozen, parse_document
from shared.errors import CorruptObject

if TYPE_CHECKING:
    import requests

ADDRESS = "https://monitoring.googleapis.com"
OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING"
"""gcloud's own variable for another address of this API; the local stack sets it."""
SCOPE = "https://www.googleapis.com/auth/monitoring.read"
WAITING = "pubsub.googleapis.com/subscription/num_undelivered_messages"
OLDEST = "pubsub.googleapis.com/subscription/oldest_unacked_message_age"
WINDOW = timedelta(minutes=10)
"""A point a minute, seen up to four minutes late; of an idle subscription there may be none."""
MOST_POINTS = 1000
MOST_BYTES = 4 << 20
TIMEOUT_S = (2.0, 3.0)


class _Part(Frozen, extra="ignore"):
    """A part of an answer; what else the service says is not ours."""


class _Interval(_Part):
    endTime: AwareDatetime  # noqa: N815 - the API's name


class _Value(_Part):
    int64Value: int  # noqa: N815


class _Point(_Part):
    interval: _Interval
    value: _Value


class _Resource(_Part):
    labels: dict[str, str]


class _Series(_Part):
    resource: _Resource
    points: tuple[_Point, ...] = ()


class _Answer(_Part):
    timeSeries: tuple[_Series, ...] = ()  # noqa: N815


class MonitoringBacklogs:
    """Implements `shared.backlog.Backlogs` with two questions, whatever waits: nothing is pulled."""

    def __init__(self, project: str, address: str = ADDRESS) -> None:
        """Name the project; nothing is contacted.

        Args:
            project: that holds the subscriptions.
            address: of the API; one that is no https:// is asked without credentials.
        """
        self._project = project
        self._address = address.rstrip("/")

    def look(self, subscriptions: Collection[str], now: datetime) -> tuple[Backlog, ...]:
        """Return what waits; see `Backlogs.look`."""
        with ThreadPoolExecutor(2) as pool:
            waiting, oldest = pool.map(lambda metric: dict(self._newest(metric, subscriptions, now)), (WAITING, OLDEST))
        return tuple(_backlog(name, waiting[name], oldest.get(name)) for name in sorted(waiting.keys() & set(subscriptions)))

    @cached_property
    def _session(self) -> "requests.Session":
        import requests

        if urlsplit(self._address).scheme != "https":
            return requests.Session()
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import AuthorizedSession

        try:
            credentials, _ = google.auth.default(scopes=[SCOPE])
        except GoogleAuthError as error:
            raise NotTold(f"credentials: expected some, found none ({error}): run `gcloud auth application-default login`") from error
        return AuthorizedSession(credentials)

    def _newest(self, metric: str, subscriptions: Collection[str], now: datetime) -> Iterator[tuple[str, _Point]]:
        for series in self._ask(metric, subscriptions, now).timeSeries:
            if series.points:  # the newest first
                yield series.resource.labels.get("subscription_id", ""), series.points[0]

    def _ask(self, metric: str, subscriptions: Collection[str], now: datetime) -> _Answer:
        import requests
        from google.auth.exceptions import GoogleAuthError

        names = "|".join(sorted(subscriptions))
        asked = {
            "filter": f'metric.type="{metric}" AND resource.type="pubsub_subscription"'
            f' AND resource.labels.subscription_id=monitoring.regex.full_match("{names}")',
            "interval.startTime": (now - WINDOW).isoformat(),
            "interval.endTime": now.isoformat(),
            "pageSize": str(MOST_POINTS),
        }
        try:
            reply = self._session.get(f"{self._address}/v3/projects/{self._project}/timeSeries", params=asked, timeout=TIMEOUT_S)
        except (requests.RequestException, GoogleAuthError) as error:
            raise NotTold(f"Cloud Monitoring: expected an answer, found {type(error).__name__}: try again in a moment") from error
        if reply.status_code == requests.codes.forbidden:
            raise NotTold("Cloud Monitoring: expected to be let in, found 403: ask for the role Monitoring Viewer")
        if reply.status_code != requests.codes.ok or len(reply.content) > MOST_BYTES:
            raise NotTold(f"Cloud Monitoring: expected an answer, found {reply.status_code} and {len(reply.content)} bytes")
        try:
            return parse_document(_Answer, reply.content, what="Cloud Monitoring's answer")
        except CorruptObject as error:
            raise NotTold(str(error)) from error


def _backlog(name: str, waiting: _Point, oldest: _Point | None) -> Backlog:
    count = waiting.value.int64Value
    age_s = float(oldest.value.int64Value) if count and oldest is not None else None
    return Backlog(subscription=name, waiting=count, oldest_s=age_s, at=waiting.interval.endTime)


class NobodyTells:
    """Implements `shared.backlog.Backlogs` beside an emulator that has no Cloud Monitoring."""

    def look(self, subscriptions: Collection[str], now: datetime) -> tuple[Backlog, ...]:  # noqa: ARG002 - the port's
        """Refuse; see `Backlogs.look`."""
        raise NotTold("this Pub/Sub emulator does not tell how much waits: `retune dlq list` pulls it")


def open_backlogs(project: str, environ: Mapping[str, str] = os.environ) -> MonitoringBacklogs | NobodyTells:
    """Return who tells how much waits where this process works: Google, the local stack, or nobody."""
    override = environ.get(OVERRIDE, "")
    if override:
        return MonitoringBacklogs(project, override)
    return NobodyTells() if environ.get("PUBSUB_EMULATOR_HOST") else MonitoringBacklogs(project)
