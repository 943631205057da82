"""What a seal would make of what is collected, or of a folder of recordings, by the seal's own code; no cycle is touched."""

from io import BytesIO
from pathlib import Path

from functions.launcher.seal import make_dataset, seal_before
from functions.launcher.window import find_dataset
from functions.runtime import Ports
from functions.states import find_state
from infra.corpora.source import Offer
from infra.dry_run import dry, next_to_open
from infra.errors import Refused
from shared import keys, ledger
from shared.audio_source import AudioSource
from shared.bus import Outgoing
from shared.clock import Clock
from shared.config import Settings
from shared.dataset import Row
from shared.documents import parse_document, sha256_hex
from shared.errors import CorruptObject
from shared.events import SttError
from shared.head import FIRST_CYCLE
from shared.line_objects import lines_of
from shared.policy import Policy
from shared.spool import Spool
from shared.testing.memory_store import MemoryStore

FOLDER_BUCKET = "gs://prepared-here"
ROWS = lines_of(Row, what="a dataset")
FOLDER_SPLIT_KEY = b"a folder has no bucket, and so no key of its own"


class _NoBus:
    """A seal publishes nothing."""

    def publish(self, message: Outgoing) -> str:
        raise Refused(f"{message.topic}: expected nothing to be published")


def build_next(ports: Ports, audio: AudioSource) -> tuple[int, Spool[Row]]:
    """Return the cycle that collects, and the dataset that its seal would make now.

    Raises:
        Refused: nothing was collected.
    """
    tried, cycle = dry(ports), next_to_open(ports)
    seal_before(tried, audio, cycle)
    rows = make_dataset(tried, audio, cycle).rows
    if not len(rows):
        raise Refused(f"cycle {cycle}: expected collected events, found none; see `retune status`")
    return cycle, rows


def build_from(offer: Offer, policy: Policy, clock: Clock) -> Spool[Row]:
    """Return the dataset that a seal would make of recordings with transcripts: each as an error of a model that nobody knows.

    What its audio cannot be used for is found as the trainer would find it, as far as the header tells.

    Args:
        offer: the recordings.
        policy: shares of the splits, and bounds of the durations.
        clock: gives the time of the events.
    """
    folders = tuple({clip.uri.rpartition("/")[0] for clip in offer.clips})
    audio = AudioSource(allowed_prefixes=folders)
    store = MemoryStore(FOLDER_BUCKET, clock=clock)
    store.put(keys.SPLIT_KEY, FOLDER_SPLIT_KEY)
    settings = Settings(bucket=FOLDER_BUCKET, project="none", audio_prefixes=folders, policy=policy)
    ports = Ports(store, _NoBus(), clock, settings)
    events = [
        SttError(
            event_id=f"clip-{sha256_hex(clip.uri.encode())[:32]}",
            occurred_at=clock.now(),
            utterance_id=clip.label,
            audio_uri=clip.uri,
            hypothesis="",
            model_version=0,
            reference=clip.reference,
            speaker_id=clip.speaker,
            session_id=clip.session,
        )
        for clip in offer.clips
    ]
    ledger.append(store, events, "offered")
    return Spool(ROWS, (_heard(row, audio, policy) for row in make_dataset(ports, audio, FIRST_CYCLE).rows))


def _heard(row: Row, audio: AudioSource, policy: Policy) -> Row:
    """Return a row with the duration that its audio's header tells, or set aside where the trainer would."""
    if row.audio is None or row.set_aside is not None:
        return row
    try:
        import soundfile
    except ModuleNotFoundError as error:
        raise Refused(f"audio is read with the trainer's packages: run `pip install 'retune[trainer]'` ({error})") from error
    try:
        info = soundfile.info(BytesIO(audio.fetch(row.audio)))
    except soundfile.LibsndfileError as error:
        return row.model_copy(update={"set_aside": "not_audio", "detail": str(error), "split": None})
    config, seconds = policy.training, round(info.frames / info.samplerate, 3)
    told = row.model_copy(update={"duration_s": seconds})
    if info.samplerate != config.sampling_rate_hz:
        detail = f"expected {config.sampling_rate_hz} Hz, found {info.samplerate}"
        return told.model_copy(update={"set_aside": "wrong_rate", "detail": detail, "split": None})
    if not config.min_duration_s <= seconds <= config.max_duration_s and row.split != "holdout":
        reason = "too_short" if seconds < config.min_duration_s else "too_long"
        detail = f"expected {config.min_duration_s:g} to {config.max_duration_s:g} s, found {seconds:g}"
        return told.model_copy(update={"set_aside": reason, "detail": detail, "split": None})
    return told


def read_rows(path: Path) -> Spool[Row]:
    """Read a dataset that `retune dataset build --out` wrote.

    Raises:
        Refused: the file cannot be read, or is no dataset.
    """
    rows = Spool(ROWS)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    rows.add(parse_document(Row, line, what=f"{path} line {number}"))
    except OSError as error:
        raise Refused(f"dataset {path}: expected a file that can be read, found {error.strerror}") from error
    except CorruptObject as error:
        raise Refused(f"{error}; write one with `retune dataset build --out FILE`") from error
    return rows


def read_cycle(ports: Ports, cycle: int) -> Spool[Row]:
    """Return a cycle's sealed dataset.

    Raises:
        Refused: it has none.
    """
    sealed = find_dataset(ports, cycle)
    if sealed is None:
        state = find_state(ports, cycle)
        where = f"it is {state.status}" if state else "it was not opened"
        raise Refused(
            f"cycle {cycle}: expected a sealed dataset, found none ({where}); "
            "a dataset is sealed when its cycle prepares: `retune dataset build` shows what would be sealed now"
        )
    return sealed.rows
