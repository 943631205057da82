"""Seals the dataset of a cycle: list, join, take over, drop, pin, split, write once, read the winner back."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from operator import itemgetter

from functions.cycle_trace import OLDEST, harmless
from functions.launcher.drafting import PLACED_ROWS, Draft, draft
from functions.launcher.lineage import read_lineage
from functions.launcher.past import past_of_seal
from functions.launcher.scatter import Scatter
from functions.launcher.window import find_dataset, read_window
from functions.runtime import Ports
from shared import keys, ledger
from shared.arrivals import choose, report_span
from shared.audio_source import AudioSource
from shared.cas import create, find
from shared.dataset import Row
from shared.errors import Retryable
from shared.head import FIRST_CYCLE
from shared.line_objects import LinesObject, create_lines, lines_of
from shared.placement import digest_of, in_split, one_of_each, wants_split, weighed
from shared.spool import Blocks, Spool

_NOTHING: tuple[int, Row | None] = (-1, None)


def read_split_key(ports: Ports) -> bytes:
    """Return the key of the speaker hash; made once, for ever."""
    found = find(ports.store, keys.SPLIT_KEY)
    if found is not None:
        return found.data
    return create(ports.store, keys.SPLIT_KEY, secrets.token_bytes(32), content_type="application/octet-stream").data


def seal(ports: Ports, audio: AudioSource, cycle: int) -> LinesObject[Row]:
    """Seal every dataset up to `cycle` that is missing, in order, and return the last.

    The head has moved past `cycle` before this is called. No seal goes on while an earlier dataset is missing: a cycle
    that was cancelled while it awaited approval left its ledger to whoever comes here. Of two that seal at once the slower may find
    the ledger collected as garbage: it takes the dataset of the faster.
    """
    present = find_dataset(ports, cycle)
    if present is not None:
        return present
    seal_before(ports, audio, cycle)
    tell_reports(ports, cycle)
    try:
        made = make_dataset(ports, audio, cycle)
    except Retryable:
        present = find_dataset(ports, cycle)
        if present is None:
            raise
        return present
    key = keys.dataset(cycle)
    metadata = {OLDEST: made.oldest.isoformat()} if made.oldest is not None else None
    return create_lines(ports.store, key, made.rows, lines_of(Row, what=key), metadata=metadata)


def seal_before(ports: Ports, audio: AudioSource, cycle: int) -> None:
    """Seal every dataset before a cycle's that is missing."""
    if cycle > FIRST_CYCLE:
        seal(ports, audio, cycle - 1)


def tell_reports(ports: Ports, cycle: int) -> None:
    """Tell some of a dataset's reports in its cycle's trace, before it is there: whoever follows a crash tells the same ones again."""
    if not ports.traces.on:
        return
    with harmless("what led to a cycle"):
        for report in choose(ledger.read_arrivals(ports.store, cycle)):
            ports.traces.past(report_span(cycle, report))


@dataclass(frozen=True)
class Made:
    """A dataset that is not written.

    Attributes:
        rows: what it holds.
        oldest: when the oldest error of its ledger occurred.
    """

    rows: Spool[Row]
    oldest: datetime | None


def make_dataset(ports: Ports, audio: AudioSource, cycle: int) -> Made:
    """Return what a seal writes; every dataset before it is there."""
    window = read_window(ports, cycle)
    drafted = draft(ports, window, read_lineage(ports).learned, pin=audio.pin)
    split_key = read_split_key(ports)
    form = lines_of(Row, what=keys.dataset(cycle))
    rows = Spool(form, _one_of_each(drafted))
    places = past_of_seal(ports, window, split_key).places(rows, wants_split)
    return Made(Spool(form, (in_split(row, splits, split_key) for row, splits in zip(rows, places, strict=True))), drafted.oldest)


def _one_of_each(drafted: Draft) -> Iterator[Row]:
    """Yield the rows in their order and with their weights; repeated recordings are set aside."""
    rate = drafted.traffic.rate
    same: Scatter[tuple[int, Row]] = Scatter(PLACED_ROWS)
    for place, row in enumerate(drafted.rows):
        digest = digest_of(row)
        if digest is not None and hash(digest) in drafted.repeated:
            same.add((place, weighed(row, rate)), (digest,))
    blocks = Blocks()
    runs = []
    for group in same.groups():
        places = [place for _, (place, _) in group]
        rows = one_of_each([row for _, (_, row) in group])
        runs.append(Spool(PLACED_ROWS, zip(places, rows, strict=True), blocks=blocks))
    changed: Iterator[tuple[int, Row | None]] = merge(*runs, key=itemgetter(0))
    next_place, next_row = next(changed, _NOTHING)
    for place, row in enumerate(drafted.rows):
        if place == next_place and next_row is not None:
            yield next_row
            next_place, next_row = next(changed, _NOTHING)
        else:
            yield weighed(row, rate)
