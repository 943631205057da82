"""What the operator brings: trusted clips of the old line, for replay and as the regression suite."""

from collections.abc import Callable, Iterator
from itertools import islice

from functions.launcher.seal import CorpusClip
from infra.local.corpus import Utterance
from infra.local.demo.plan import SUITE, DemoPlan
from infra.local.demo.speech_source import People, duration_s, utterances, wav_bytes
from shared import keys
from shared.audio_source import AudioPin
from shared.cas import create
from shared.objectstore import ObjectStore
from shared.training import lines_bytes, sha256_hex

Advance = Callable[[int], None]


def add_corpora(store: ObjectStore, plan: DemoPlan, people: People, advance: Advance) -> None:
    """Write replay clips and the suite, of different people, into `corpora/`."""
    replay = islice(utterances(plan, 2, people.calling[plan.suite_callers :], phone_share=0.0), plan.replay_clips)
    suite = islice(utterances(plan, 3, people.suite, phone_share=0.0), plan.suite_clips)
    store.put(keys.REPLAY, lines_bytes(_clips(store, "replay", replay, advance)))
    store.put(keys.suite(SUITE), lines_bytes(_clips(store, SUITE, suite, advance)))


def _clips(store: ObjectStore, prefix: str, spoken: Iterator[Utterance], advance: Advance) -> Iterator[CorpusClip]:
    for number, utterance in enumerate(spoken):
        data = wav_bytes(utterance)
        info = create(store, keys.audio(sha256_hex(data)), data, content_type="audio/wav").info
        pin = AudioPin(uri=f"{store.uri}/{info.key}", generation=info.generation, crc32c=info.crc32c, size_bytes=info.size_bytes)
        yield CorpusClip(
            utterance_id=f"{prefix}-{number:05d}",
            audio=pin,
            reference=utterance.text,
            speaker=f"speaker:{utterance.caller.speaker_id}",
            duration_s=round(duration_s(utterance), 3),
        )
        advance(1)
