"""Which utterances are sampled, and how much traffic there was. No I/O."""

import hashlib
import threading

from retune_client.errors import InvalidEventError

MAX_VERSIONS = 100
"""Versions counted in one interval: a bound on memory, far above the two that serve at a time."""


class Sampler:
    """Draws utterances with probability `rate` by a keyed hash of their id.

    The decision depends on nothing but the id and a salt that is drawn afresh by each process: neither on whether the
    utterance was wrong nor on when or how often it is asked for. An utterance that is observed twice is drawn twice or
    not at all, and no pattern in the service's ids can favour some of them for long.
    """

    def __init__(self, rate: float, salt: bytes) -> None:
        """Raises ValueError where `rate` is not in [0, 1]."""
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"sample_rate: expected a number from 0 to 1, found {rate}")
        self.rate = rate
        self._salt = salt
        self._below = round(rate * 2**64)

    def draws(self, utterance_id: str) -> bool:
        """Tell whether the utterance is in the sample."""
        # surrogatepass: an id that cannot be encoded is refused later, with its reason
        digest = hashlib.blake2b(utterance_id.encode("utf-8", "surrogatepass"), digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest, "big") < self._below


class TrafficWindow:
    """Counts the utterances of each model version since the last roll; safe between threads."""

    def __init__(self, started_s: float) -> None:
        self._lock = threading.Lock()
        self._started_s = started_s
        self._counts: dict[int, int] = {}

    def count(self, version: int) -> None:
        """Count one utterance.

        Raises:
            InvalidEventError: more versions in one interval than any service has.
        """
        with self._lock:
            if version not in self._counts and len(self._counts) >= MAX_VERSIONS:
                raise InvalidEventError(f"model_version: expected at most {MAX_VERSIONS} versions in an interval, found another")
            self._counts[version] = self._counts.get(version, 0) + 1

    def roll(self, now_s: float, room: int) -> tuple[float, dict[int, int]]:
        """Return (seconds, counts by version) since the last roll and start anew.

        With `room` for fewer messages than versions nothing is returned and the counting goes on: a later interval is
        longer, but no utterance is missing from the denominator of the error rate.
        """
        with self._lock:
            if len(self._counts) > room or not self._counts:
                if not self._counts:
                    self._started_s = now_s
                return 0.0, {}
            interval_s, counts = max(now_s - self._started_s, 0.001), self._counts
            self._started_s, self._counts = now_s, {}
            return interval_s, counts
