"""Which model serves a session: pure functions of the alias, the loaded models and what serves now."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from retune_client.registry import Alias

HASH_VERSION = 1
"""Names the way in which sessions are put into buckets; another way must have another number."""
BUCKETS = 100
KEEP_PREVIOUS = 2
"""Versions kept on disk for a rollback: the one it goes to, and the next."""
LONGEST_RETRY_S = 600.0

Model = TypeVar("Model")


@dataclass(frozen=True)
class Served(Generic[Model]):
    """A loaded model and its version, which belongs into every report about what it transcribed."""

    version: int
    model: Model


@dataclass(frozen=True)
class Routing(Generic[Model]):
    """What serves now; replaced as a whole."""

    stable: Served[Model] | None = None
    canary: Served[Model] | None = None
    percent: int = 0

    @property
    def versions(self) -> set[int]:
        """The versions that serve."""
        return {served.version for served in (self.stable, self.canary) if served is not None}


def bucket(session_id: str, canary_version: int) -> int:
    """Return the bucket of a session, 0 to 99, for the canary of one version.

    A session keeps its bucket for as long as that version is on canary, in every process; a rising percentage only adds
    sessions. The next canary gets other sessions, so that nobody is always the first to meet a new model.
    """
    text = f"retune-canary:{HASH_VERSION}:{canary_version}:{session_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") % BUCKETS


def pick(routing: Routing[Model], session_id: str) -> Served[Model] | None:
    """Return the model for a session; None where nothing is loaded."""
    canary = routing.canary
    if canary is not None and bucket(session_id, canary.version) < routing.percent:
        return canary
    return routing.stable


def route(alias: Alias, loaded: Mapping[int, Served[Model]], now: Routing[Model]) -> Routing[Model]:
    """Return what shall serve, given what is loaded.

    A stable version that is not loaded (yet) leaves the present one in its place: something must serve. A canary that is
    not loaded, or no longer wanted, serves nobody.
    """
    stable = now.stable if alias.stable is None else loaded.get(alias.stable, now.stable)
    canary = loaded.get(alias.canary.version) if alias.canary is not None and stable is not None else None
    return Routing(stable, canary, alias.canary.percent if alias.canary is not None and canary is not None else 0)


def kept_on_disk(alias: Alias, routing: Routing[Model]) -> set[int]:
    """Return the versions whose files stay in the cache."""
    return {*alias.versions, *routing.versions, *alias.previous[:KEEP_PREVIOUS]}


def retry_after_s(failures: int, poll_s: float) -> float:
    """Return how long to wait before a model that failed `failures` times is tried again: it may be many gigabytes."""
    return float(min(LONGEST_RETRY_S, poll_s * 2 ** min(failures - 1, 20)))
