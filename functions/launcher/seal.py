"""Seals the dataset of a cycle: list, join, take over, drop, pin, split, write once, read the winner back."""

import secrets
from heapq import merge
from operator import itemgetter

from functions.launcher.drafting import draft
from functions.launcher.lineage import read_lineage
from functions.launcher.past import past_of_seal
from functions.launcher.window import find_dataset, read_window
from functions.runtime import Ports
from shared import keys, ledger
from shared.audio_source import AudioSource
from shared.cas import create, find
from shared.dataset import Row
from shared.line_objects import LinesObject, create_lines, lines_of
from shared.placement import finish
from shared.scatter import PLACED_LINES
from shared.spool import Blocks, Spool


def read_split_key(ports: Ports) -> bytes:
    """Return the key of the speaker hash; made once, for ever."""
    found = find(ports.store, keys.SPLIT_KEY)
    if found is not None:
        return found.data
    return create(ports.store, keys.SPLIT_KEY, secrets.token_bytes(32), content_type="application/octet-stream").data


def seal(ports: Ports, audio: AudioSource, cycle: int) -> LinesObject[Row]:
    """Seal every dataset up to `cycle` that is missing, in order, and return the last.

    The head has moved past `cycle` before this is called. No seal goes on while an earlier dataset is missing: a cycle
    that was cancelled while it awaited approval left its ledger to whoever comes here.
    """
    present = find_dataset(ports, cycle)
    if present is not None:
        return present
    rows = rows_of_seal(ports, audio, cycle)
    return create_lines(ports.store, keys.dataset(cycle), rows, lines_of(Row, what=keys.dataset(cycle)))


def rows_of_seal(ports: Ports, audio: AudioSource, cycle: int) -> Spool[Row]:
    """Return what a seal writes; every dataset before it that is missing is sealed."""
    if cycle > ledger.FIRST_CYCLE:
        seal(ports, audio, cycle - 1)
    window = read_window(ports, cycle)
    drafted = draft(ports, window, read_lineage(ports).learned, pin=audio.pin)
    split_key = read_split_key(ports)
    form = lines_of(Row, what=keys.dataset(cycle))
    blocks = Blocks()
    runs = []
    for placed, history in past_of_seal(ports, window, split_key).groups(drafted.rows):
        rows = finish([row for _, row in placed], drafted.traffic.rate, split_key, ports.settings.policy, past=history)
        lines = ((place, form.dump(row)) for (place, _), row in zip(placed, rows, strict=True))
        runs.append(Spool(PLACED_LINES, lines, blocks=blocks))
    sealed = Spool(form)
    for _, line in merge(*runs, key=itemgetter(0)):
        sealed.add_line(line)
    return sealed
