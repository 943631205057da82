"""What the operator brings: trusted clips of the old line, for replay and as the regression suite."""

from collections.abc import Callable, Iterator
from itertools import islice

from functions.runtime import Ports
from infra.local.corpus import Utterance
from infra.local.demo.plan import SUITE, DemoPlan
from infra.local.demo.speech_source import People, duration_s, utterances, wav_bytes
from shared import keys
from shared.corpora import Corpus, CorpusClip, copy_audio
from shared.documents import lines_bytes
from shared.objectstore import ObjectStore
from shared.suites import Change, write_suite

Advance = Callable[[int], None]


def add_corpora(ports: Ports, plan: DemoPlan, people: People, advance: Advance) -> None:
    """Write replay clips and the suite, of different people, into `corpora/`."""
    store = ports.store
    replay = islice(utterances(plan, 2, people.calling[plan.suite_callers :], phone_share=0.0), plan.replay_clips)
    suite = islice(utterances(plan, 3, people.suite, phone_share=0.0), plan.suite_clips)
    store.put(keys.REPLAY, lines_bytes(_clips(store, "replay", replay, advance)))
    clips = list(_clips(store, SUITE, suite, advance))
    write_suite(store, SUITE, Change(clips, Corpus(), said="the demo's", by="retune demo"), ports.clock.now())


def _clips(store: ObjectStore, prefix: str, spoken: Iterator[Utterance], advance: Advance) -> Iterator[CorpusClip]:
    for number, utterance in enumerate(spoken):
        yield CorpusClip(
            utterance_id=f"{prefix}-{number:05d}",
            audio=copy_audio(store, wav_bytes(utterance), "audio/wav"),
            reference=utterance.text,
            speaker=f"speaker:{utterance.caller.speaker_id}",
            duration_s=round(duration_s(utterance), 3),
        )
        advance(1)
