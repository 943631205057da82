"""Seals the dataset of a cycle: list, join, take over, drop, pin, split, write once, read the winner back."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from functions.launcher.facts import read_facts
from functions.launcher.history import Corpora, keep_tellings, past_uses
from functions.launcher.window import Window, read_window
from functions.runtime import Ports
from shared import keys, ledger
from shared.alias import find_production
from shared.audio_source import AudioPin, AudioSource
from shared.cas import create, find
from shared.corpora import load_corpus
from shared.dataset import Row, join
from shared.errors import InvalidMessage, NotFound, Retryable
from shared.events import Event
from shared.former import Fact
from shared.gold import GoldRecord
from shared.objectstore import StoredObject
from shared.placement import PinOutcome, finish
from shared.splits import History, Member, member, split_of
from shared.suites import suite_names
from shared.training import ModelManifest, lines_bytes, parse_document, parse_lines

PIN_THREADS = 16
GOLD_CYCLES = 200
"""An error waits 90 days for a person's word: no more cycles than these can have made gold for it."""


@dataclass(frozen=True)
class Sealed:
    """A sealed dataset.

    Attributes:
        stored: its object, whoever wrote it.
        rows: what it holds.
    """

    stored: StoredObject
    rows: list[Row]


@dataclass(frozen=True)
class Lineage:
    """The stable model and what it has learned.

    Attributes:
        stable: its version; None before the first.
        manifest: its manifest as stored; None before the first.
        learned: cycles whose datasets it or an ancestor was trained on.
    """

    stable: int | None
    manifest: StoredObject | None
    learned: frozenset[int]


def read_lineage(ports: Ports) -> Lineage:
    """Read which model is stable and what it has learned."""
    production = find_production(ports.store)
    stable = production.stable if production else None
    if stable is None:
        return Lineage(None, None, frozenset())
    stored = ports.store.get(keys.manifest(stable))
    manifest = parse_document(ModelManifest, stored.data, what=keys.manifest(stable))
    return Lineage(stable, stored, frozenset(manifest.learned))


def awaiting_gold(ports: Ports, rows: Iterable[Row], learned: frozenset[int]) -> list[Row]:
    """Return those of some errors without a reference that gold may be made for: none where the policy names nobody to ask.

    What the stable model has learned from gold waits for a person's word, and need not be asked again.
    """
    if ports.settings.policy.gold is None:
        return []
    done = _learned_gold(ports, learned)
    return [row for row in rows if row.utterance_id not in done]


def _learned_gold(ports: Ports, learned: frozenset[int]) -> frozenset[str]:
    newest = sorted(learned, reverse=True)[:GOLD_CYCLES]
    found = {number: find(ports.store, keys.gold(number)) for number in newest}
    return frozenset(
        record.utterance_id
        for stored in found.values()
        if stored is not None
        for record in parse_lines(GoldRecord, stored.data, what=stored.info.key)
        if record.decision == "accepted"
    )


def read_split_key(ports: Ports) -> bytes:
    """Return the key of the speaker hash; made once, for ever."""
    found = find(ports.store, keys.SPLIT_KEY)
    if found is not None:
        return found.data
    return create(ports.store, keys.SPLIT_KEY, secrets.token_bytes(32), content_type="application/octet-stream").data


def find_dataset(ports: Ports, cycle: int) -> Sealed | None:
    """Return a cycle's dataset if it is sealed."""
    found = find(ports.store, keys.dataset(cycle))
    return Sealed(found, parse_lines(Row, found.data, what=found.info.key)) if found else None


def seal(ports: Ports, audio: AudioSource, cycle: int) -> Sealed:
    """Seal every dataset up to `cycle` that is missing, in order, and return the last.

    The head has moved past `cycle` before this is called. No seal goes on while an earlier dataset is missing: a cycle
    that was cancelled while it awaited approval left its ledger to whoever comes here. Of two that seal at once the slower may find
    the ledger collected as garbage: it takes the dataset of the faster.
    """
    present = find_dataset(ports, cycle)
    if present is not None:
        return present
    if cycle > ledger.FIRST_CYCLE:
        seal(ports, audio, cycle - 1)
    try:
        made = _made(ports, audio, cycle)
    except Retryable:
        present = find_dataset(ports, cycle)
        if present is None:
            raise
        return present
    stored = create(ports.store, keys.dataset(cycle), made, content_type="application/x-ndjson")
    return Sealed(stored, parse_lines(Row, stored.data, what=stored.info.key))


def _made(ports: Ports, audio: AudioSource, cycle: int) -> bytes:
    """Return the dataset of a ledger; its rows are gone from memory when it is read back."""
    window = read_window(ports, cycle)
    rows = draft(ports, window, ledger.read_events(ports.store, cycle))
    history = _history_of_seal(ports, window)
    pins = _pins(rows, audio.pin)
    return lines_bytes(finish(rows, pins, read_split_key(ports), ports.settings.policy, past=history))


def _history_of_seal(ports: Ports, window: Window) -> History:
    """Return who was trained on and who judged before this seal, and keep what the corpora tell."""
    corpora = _read_corpora(ports, replay=True)
    facts = _read_facts(ports, window)
    facts |= keep_tellings(ports.store, window.cycle, corpora, facts)
    return past_uses(facts, corpora, partial(split_of, policy=ports.settings.policy))


def read_history(ports: Ports, window: Window, *, replay: bool = True) -> History:
    """Return who was trained on and who judged in cycles before, and whom suites and (`replay`) the replay corpus hold now."""
    corpora = _read_corpora(ports, replay=replay)
    return past_uses(_read_facts(ports, window), corpora, partial(split_of, policy=ports.settings.policy))


def _read_facts(ports: Ports, window: Window) -> set[Fact]:
    return read_facts(ports.store, read_split_key(ports), window.cycle, window.sealed, window.settled)


def _read_corpora(ports: Ports, *, replay: bool) -> Corpora:
    split_key = read_split_key(ports)

    def members(key: str) -> list[Member]:
        clips = load_corpus(ports.store, key).clips
        return [member(split_key, utterance_id=item.utterance_id, audio=item.audio, speaker=item.speaker) for item in clips]

    suites = [one for name in suite_names(ports.store) for one in members(keys.suite(name))]
    return Corpora(suites=suites, replay=members(keys.REPLAY) if replay else [])


def draft(ports: Ports, window: Window, events: Sequence[Event], past: dict[int, list[Row]] | None = None) -> list[Row]:
    """Return the rows that a dataset of these events would have, not yet pinned: also the exact count of a crossing.

    Args:
        ports: of the launcher.
        window: the datasets before the cycle of the events.
        events: of its ledger.
        past: earlier cycles as they were read or drafted in this call already; they are added to.
    """
    known = {} if past is None else past
    earlier = [_past(ports, number, window, known) for number in window.datasets]
    learned = read_lineage(ports).learned
    return join(events, earlier, learned, list(window.datasets), ports.clock.now())


def _past(ports: Ports, number: int, window: Window, past: dict[int, list[Row]]) -> list[Row]:
    """Return the dataset of an earlier cycle.

    A ledger that waits for its seal (its cycle was cancelled before it prepared) stands in as it would be sealed now. Each is drafted
    once: a draft looks at all before it, so that without `past` every further cancelled cycle would double the work.
    """
    if number not in past:
        sealed = window.datasets[number]
        if sealed is not None:
            past[number] = parse_lines(Row, sealed.data, what=sealed.info.key)
        else:
            before = read_window(ports, number, window.datasets)
            past[number] = draft(ports, before, ledger.read_events(ports.store, number), past)
    return past[number]


def _pins(rows: Sequence[Row], pin: Callable[[str], AudioPin]) -> dict[str, PinOutcome]:
    wanted = {row.audio_uri for row in rows if row.audio_uri is not None and row.audio is None and row.set_aside is None}
    with ThreadPoolExecutor(PIN_THREADS) as pool:
        return dict(zip(wanted, pool.map(lambda uri: _pin(uri, pin), wanted), strict=True))


def _pin(uri: str, pin: Callable[[str], AudioPin]) -> PinOutcome:
    try:
        found = pin(uri)
    except NotFound as error:
        return "missing", str(error)
    except InvalidMessage as error:
        return "not_allowed", str(error)
    return found if found.size_bytes else ("empty", f"{uri}: expected audio, found 0 bytes")
