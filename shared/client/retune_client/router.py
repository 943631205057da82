"""Serves the models that production names: downloads, verifies, swaps and splits the sessions between them."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Self

from retune_client.cache import ModelCache
from retune_client.clock import Clock, SystemClock
from retune_client.errors import NoModelError
from retune_client.moves import ModelMoves, Subscriber
from retune_client.registry import PRODUCTION, Alias, parse_alias
from retune_client.routing import Model, Routing, Served, kept_on_disk, pick, retry_after_s, route
from retune_client.store import GcsModelStore, ModelStore

log = logging.getLogger(__name__)

JOIN_S = 5.0


@dataclass(frozen=True)
class RouterStatus:
    """What serves, and what is wrong.

    Attributes:
        seq: number of the last move of the production alias that was read; -1 before the first.
        stable, canary: versions that serve now.
        percent: share of the sessions that the canary serves.
        wanted: versions that production names.
        problems: what is wrong by subject: `alias`, `subscription`, `cache`, or a version such as `v12`. Empty when all is well.
    """

    seq: int
    stable: int | None
    canary: int | None
    percent: int
    wanted: tuple[int, ...]
    problems: Mapping[str, str]


class ModelRouter(Generic[Model]):
    """Follows the production alias and hands out the model that serves a session. Safe between threads.

    Two background threads: one follows the alias and one downloads and loads, so that the end of a canary takes effect at
    once even while another model is on its way. A version that cannot be verified or loaded is refused and tried again
    later; until then what served before goes on serving.
    """

    def __init__(
        self,
        store: ModelStore | str,
        cache_dir: Path | str,
        load: Callable[[Path, int], Model],
        *,
        poll_s: float = 30.0,
        subscription: str | None = None,
        subscriber: Subscriber | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Start to follow production.

        Args:
            store: the registry's bucket, by name or as a `ModelStore`.
            cache_dir: where models lie; holds the serving versions and two to roll back to. Processes may share it.
            load: makes a model of (folder of verified files, version). The folder must be left as it is.
            poll_s: how often the alias is read; also the first pause before a refused version is tried again.
            subscription: `projects/P/subscriptions/S` on `model-events`, of this process alone: a move is followed at once.
            subscriber: instead of a Pub/Sub client of our own; it stays the caller's to close.
            clock: instead of the machine's.

        Raises:
            OSError: `cache_dir` cannot be created.
        """
        self._store: ModelStore = GcsModelStore(store) if isinstance(store, str) else store
        self._clock = clock or SystemClock()
        self._cache = ModelCache(self._store, Path(cache_dir), self._clock)
        self._load = load
        self._poll_s = poll_s
        self._moves = None if subscription is None else ModelMoves(subscription, self._on_move, subscriber)
        self._read_lock = threading.Lock()  # one reader of the alias, so that an older answer cannot overtake a newer one
        self._load_lock = threading.Lock()  # one download at a time; taken before `_cond`
        self._cond = threading.Condition()  # guards what follows; never held during I/O
        self._alias = Alias(seq=-1)
        self._routing: Routing[Model] = Routing()
        self._loaded: dict[int, Served[Model]] = {}
        self._failures: dict[int, tuple[int, float]] = {}
        self._problems: dict[str, str] = {}
        self._woken = False
        self._closed = False
        self._threads = [
            threading.Thread(target=self._follow, name="retune-router-follow", daemon=True),
            threading.Thread(target=self._load_wanted, name="retune-router-load", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def choose(self, session_id: str) -> Served[Model]:
        """Return the model that serves a session: the same one for the whole session while production stays as it is.

        Never waits. Hold on to what is returned for as long as the utterance takes, and report its version.

        Raises:
            NoModelError: no model has been loaded yet.
        """
        served = pick(self._routing, session_id)  # one read of one reference: no lock
        if served is None:
            raise NoModelError(f"expected a stable model, found none; problems: {dict(self.status().problems)}")
        return served

    def choose_shadow(self, session_id: str) -> Served[Model] | None:
        """Return the model on canary or in shadow that does not serve a session, to transcribe beside it; None where there is none.

        What it hears belongs into `Utterance.shadow_hypothesis` of what `choose` served, and to nobody else. Never waits.
        """
        routing = self._routing  # one read of one reference: no lock
        candidate = routing.canary
        return None if candidate is None or pick(routing, session_id) is candidate else candidate

    def refresh(self) -> RouterStatus:
        """Read the alias and load what it names, now and in this thread, also what was refused before; return what came of it."""
        self._read_alias()
        self._load_missing(force=True)
        return self.status()

    def wait_for(self, version: int, timeout: float) -> bool:
        """Wait until a version serves, stable or as canary; tell whether it does within `timeout` seconds."""
        deadline = self._clock.monotonic() + timeout
        with self._cond:
            self._woken = True
            self._cond.notify_all()
            while version not in self._routing.versions and not self._closed and self._clock.monotonic() < deadline:
                self._clock.wait_until(self._cond, deadline)
            return version in self._routing.versions

    def status(self) -> RouterStatus:
        """Return what serves, and what is wrong."""
        with self._cond:
            stable, canary = self._routing.stable, self._routing.canary
            return RouterStatus(
                seq=self._alias.seq,
                stable=None if stable is None else stable.version,
                canary=None if canary is None else canary.version,
                percent=self._routing.percent,
                wanted=self._alias.versions,
                problems=dict(self._problems),
            )

    def close(self) -> None:
        """Stop following; what serves goes on serving."""
        with self._cond:
            self._closed = True
            self._cond.notify_all()
        if self._moves is not None:
            self._moves.close()
        for thread in self._threads:
            thread.join(JOIN_S)  # a download that is on its way is not waited for

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _on_move(self, seq: int | None) -> None:
        with self._cond:
            if seq is None or seq > self._alias.seq:
                self._woken = True
                self._cond.notify_all()

    def _follow(self) -> None:
        while True:
            self._ensure_moves()
            self._read_alias()
            with self._cond:
                poll_at = self._clock.monotonic() + self._poll_s
                while not self._woken and not self._closed and self._clock.monotonic() < poll_at:
                    self._clock.wait_until(self._cond, poll_at)
                self._woken = False
                if self._closed:
                    return

    def _load_wanted(self) -> None:
        while True:
            with self._cond:
                while not self._closed and self._clock.monotonic() < (due_at := self._due_at()):
                    self._clock.wait_until(self._cond, due_at)
                if self._closed:
                    return
            self._load_missing(force=False)

    def _ensure_moves(self) -> None:
        if self._moves is None:
            return
        try:
            self._note("subscription", self._moves.ensure())
        except Exception as error:  # noqa: BLE001  # whatever Pub/Sub's client raises: polling goes on
            self._note("subscription", error)

    def _read_alias(self) -> None:
        with self._read_lock:
            try:
                alias = parse_alias(self._store.read(PRODUCTION))
            except Exception as error:  # noqa: BLE001  # whatever the store raises: what serves goes on serving
                self._note("alias", error)
                return
            with self._cond:
                newest = self._alias.seq
                if alias.seq >= newest:
                    self._alias = alias
                    self._apply()
        self._note("alias", None if alias.seq >= newest else f"{PRODUCTION}: expected seq {newest} or later, found {alias.seq}: ignored")

    def _load_missing(self, *, force: bool) -> None:
        with self._load_lock:
            tried: set[int] = set()
            while (version := self._next_missing(tried, force=force)) is not None:
                tried.add(version)
                self._load_one(version)
            with self._cond:
                keep = kept_on_disk(self._alias, self._routing)
                known = self._alias.seq >= 0
            if known:
                try:
                    self._cache.prune(keep)
                except OSError as error:
                    self._note("cache", error)
                else:
                    self._note("cache", None)

    def _load_one(self, version: int) -> None:
        try:
            model = self._load(self._cache.fetch(version), version)
        except Exception as error:  # noqa: BLE001  # whatever the store or the caller's `load` raises: the version is refused
            with self._cond:
                failures = self._failures.get(version, (0, 0.0))[0] + 1
                self._failures[version] = (failures, self._clock.monotonic() + retry_after_s(failures, self._poll_s))
            self._note(f"v{version}", error)
            return
        with self._cond:
            self._loaded[version] = Served(version, model)
            self._apply()
        log.info("model v%d is loaded", version)

    def _next_missing(self, tried: set[int], *, force: bool) -> int | None:
        with self._cond:
            now = self._clock.monotonic()
            missing = (version for version in self._missing() if version not in tried)
            return next((version for version in missing if force or now >= self._failures.get(version, (0, -math.inf))[1]), None)

    def _missing(self) -> list[int]:
        return [version for version in self._alias.versions if version not in self._loaded]

    def _due_at(self) -> float:
        return min((self._failures.get(version, (0, -math.inf))[1] for version in self._missing()), default=math.inf)

    def _apply(self) -> None:
        """Put what is loaded to work; what is neither wanted nor serving is forgotten."""
        self._routing = route(self._alias, self._loaded, self._routing)
        live = {*self._alias.versions, *self._routing.versions}
        self._loaded = {version: served for version, served in self._loaded.items() if version in live}
        self._failures = {version: failed for version, failed in self._failures.items() if version in live and version not in self._loaded}
        gone = [subject for subject in self._problems if subject[1:].isdigit() and int(subject[1:]) not in self._failures]
        for subject in gone:
            del self._problems[subject]
        self._cond.notify_all()

    def _note(self, subject: str, problem: Exception | str | None) -> None:
        text = f"{type(problem).__name__}: {problem}"[:500] if isinstance(problem, Exception) else problem
        with self._cond:
            news = text is not None and self._problems.get(subject) != text
            if text is None:
                self._problems.pop(subject, None)
            else:
                self._problems[subject] = text
            self._cond.notify_all()
        if news:
            log.warning("%s: %s", subject, text)
