"""The rows that a dataset of a ledger would have, in the order in which a dataset has them: joined, taken over, and, for a seal, pinned.

Rows meet by their event, their utterance and the address of their audio. So they are made group by group, and no ledger is ever whole
in memory; `shared.dataset.join` is what makes them.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import Any, TypeAlias

from functions.launcher.scatter import Scatter, distinct, repeated
from functions.launcher.window import Window, read_window
from functions.runtime import Ports
from shared import ledger
from shared.audio_source import AudioPin
from shared.dataset import Row, join
from shared.errors import InvalidMessage, NotFound
from shared.events import Event, SttCorrection, Utterance
from shared.ledger import EVENT_LINES
from shared.line_objects import lines_of
from shared.placement import PinOutcome, Traffic, digest_of, pinned, traffic_of, unpinned
from shared.splits import audio_digest
from shared.spool import Blocks, Form, Spool, placed
from shared.totals import Totals, count_events

PIN_THREADS = 16
FRESH = -1
"""Stands where a row that is taken over has its place in the earlier datasets."""

Pin: TypeAlias = Callable[[str], AudioPin]


@dataclass(frozen=True)
class Draft:
    """A dataset before its splits.

    Attributes:
        rows: in the order of a dataset: taken over, then fresh by time and id.
        traffic: what they tell of it.
        counted: of the events that count for a trigger, each once.
        oldest: when the oldest error of the ledger occurred.
        recordings: how many there are among the errors: by digest where the audio is known, else by address, of which one may be the other.
        repeated: hashes of the digests that more than one row has.
    """

    rows: Spool[Row]
    traffic: Traffic
    counted: Totals
    oldest: datetime | None
    recordings: int
    repeated: set[int]


@dataclass(frozen=True)
class _Earlier:
    """A row of an earlier dataset, the `place`-th of those in the window."""

    place: int
    row: Row


_ROWS = lines_of(Row, what="a row of a dataset")
_Given: TypeAlias = Event | _Earlier


def _dump(given: _Given) -> bytes:
    return b"%d %b" % (given.place, _ROWS.dump(given.row)) if isinstance(given, _Earlier) else b"e " + EVENT_LINES.dump(given)


def _parse(line: bytes) -> _Given:
    place, _, rest = line.partition(b" ")
    return EVENT_LINES.parse(rest) if place == b"e" else _Earlier(int(place), _ROWS.parse(rest))


def _names(given: _Given) -> Iterator[str]:
    """Yield what ties an event or a row to others before any audio is known."""
    about = given.row if isinstance(given, _Earlier) else given
    yield f"event {about.event_id}"
    if isinstance(about, Row | Utterance | SttCorrection) and about.utterance_id is not None:
        yield f"utterance {about.utterance_id}"
    if isinstance(about, Row | Utterance) and about.audio_uri is not None:
        yield f"audio {about.audio_uri}"


def draft(
    ports: Ports, window: Window, learned: frozenset[int], *, pin: Pin | None = None, known: dict[int, Spool[Row]] | None = None
) -> Draft:
    """Return the rows that a seal of a ledger would make, before their splits.

    Args:
        ports: of the launcher.
        window: the cycle whose ledger it is, and the datasets before it.
        learned: cycles that the stable model has learned.
        pin: looks up audio; None = what was not pinned before stays so.
        known: earlier cycles as they were drafted in this call already; they are added to.
    """
    now = ports.clock.now()
    drafted = {} if known is None else known
    given: Scatter[_Given] = Scatter(Form(_dump, _parse))
    for place, number in enumerate(window.datasets):
        for row in _past(ports, number, window, learned, drafted):
            earlier = _Earlier(place, row)
            given.add(earlier, _names(earlier))
    for event in ledger.fetch_events(ports.store, window.cycle):
        given.add(event, _names(event))
    made = _Made(window, learned, now, pin)
    runs = [made.run(group) for group in given.groups()]
    digests = array("q")
    rows = Spool(_ROWS)
    for _, row in merge(*runs, key=_order):
        rows.add(row)
        digests.extend(hash(digest) for digest in (digest_of(row),) if digest is not None)
    return Draft(rows, made.traffic, made.counted, made.ledger.oldest, distinct(made.recordings), repeated(digests))


def _past(ports: Ports, number: int, window: Window, learned: frozenset[int], drafted: dict[int, Spool[Row]]) -> Spool[Row]:
    """Return the dataset of an earlier cycle.

    A ledger that waits for its seal (its cycle was cancelled before it prepared) stands in as it would be sealed now. Each is drafted
    once: a draft looks at all before it, so that without `drafted` every further cancelled cycle would double the work.
    """
    sealed = window.datasets[number]
    if sealed is not None:
        return sealed.rows
    if number not in drafted:
        before = read_window(ports, number, window.datasets)
        drafted[number] = draft(ports, before, learned, known=drafted).rows
    return drafted[number]


_Placed: TypeAlias = tuple[int, Row]
PLACED_ROWS: Form[_Placed] = placed(_ROWS)


def _order(placed: _Placed) -> tuple[Any, ...]:
    number, row = placed
    return (1, row.occurred_at, row.event_id) if number == FRESH else (0, number)


class _Made:
    """Makes the rows of one group after another, and counts them."""

    def __init__(self, window: Window, learned: frozenset[int], now: datetime, pin: Pin | None) -> None:
        self.traffic = Traffic()
        self.counted = Totals()
        self.ledger = Totals()
        self.recordings = array("q")
        self._cycles = list(window.datasets)
        self._learned = learned
        self._now = now
        self._pin = pin
        self._blocks = Blocks()

    def run(self, group: list[tuple[int, _Given]]) -> Spool[_Placed]:
        """Return the rows of a group in their order, with their places."""
        earlier: list[list[Row]] = [[] for _ in self._cycles]
        first: dict[str, int] = {}
        for number, given in group:
            if isinstance(given, _Earlier):
                earlier[given.place].append(given.row)
                first.setdefault(given.row.event_id, number)
        events = ledger.in_order(given for _, given in group if not isinstance(given, _Earlier))
        rows = join(events, earlier, self._learned, self._cycles, self._now)
        counting = {row.event_id for row in rows if _counts(row)}
        self.counted += count_events(event for event in events if event.event_id in counting)
        self.ledger += count_events(events)
        self.traffic += traffic_of(rows)
        self.recordings.extend(map(hash, recordings_of(rows)))
        if self._pin is not None:
            rows = pinned(rows, _pins(rows, self._pin))
        run = ((FRESH if row.origin == "fresh" else first[row.event_id], row) for row in rows)
        return Spool(PLACED_ROWS, run, blocks=self._blocks)


def recordings_of(rows: Iterable[Row]) -> set[str]:
    """Return what tells the recordings among the errors apart: the digest where the audio is known, else the address."""
    errors = [row for row in rows if row.kind == "error" and row.set_aside is None]
    digests = {row.audio_uri: audio_digest(row.audio) for row in errors if row.audio is not None}
    return {digests.get(row.audio_uri, row.audio_uri) for row in errors if row.audio_uri is not None}


def _counts(row: Row) -> bool:
    """Tell whether a row's event counts: a correction that was joined to its utterance does, though nothing waits for it any more."""
    return row.origin == "fresh" and (row.set_aside is None or row.kind == "correction")


def _pins(rows: list[Row], pin: Pin) -> dict[str, PinOutcome]:
    wanted = dict.fromkeys(row.audio_uri for row in rows if row.audio_uri is not None and unpinned(row))
    with ThreadPoolExecutor(PIN_THREADS) as pool:
        return dict(zip(wanted, pool.map(lambda uri: _outcome(uri, pin), wanted), strict=True))


def _outcome(uri: str, pin: Pin) -> PinOutcome:
    try:
        found = pin(uri)
    except NotFound as error:
        return "missing", str(error)
    except InvalidMessage as error:
        return "not_allowed", str(error)
    return found if found.size_bytes else ("empty", f"{uri}: expected audio, found 0 bytes")
