"""The demo's own measurement: old and new model on fresh callers, with the statistics of the validator; and what it cost."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import psutil

from infra.local.corpus import Utterance
from infra.local.demo.plan import DemoPlan
from infra.local.demo.speech_source import People, utterances
from shared.rates import Interval
from shared.wer import count_word_errors_batch, pooled_wer
from shared.wer_stats import PairedUtterance, cluster_totals, relative_change_interval, wer_interval
from trainer.recogniser import Recogniser

LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """WER of two models on the same clips.

    Attributes:
        before, after: pooled WER with a 95% interval over speakers.
        change: relative change with its 95% interval; -0.4 = fell by 40%.
        utterances, speakers: what it rests on.
    """

    before: Interval
    after: Interval
    change: Interval | None
    utterances: int
    speakers: int

    @property
    def improved(self) -> bool:
        """True when the whole interval of the change is below 0."""
        return self.change is not None and self.change.high < 0


def fresh_calls(plan: DemoPlan, people: People) -> list[Utterance]:
    """Return calls on the phone line by people who never called before."""
    return list(islice(utterances(plan, 4, people.fresh, phone_share=1.0), plan.fresh_calls))


def compare(spoken: Sequence[Utterance], before: Recogniser, after: Recogniser) -> Comparison:
    """Transcribe the same clips with both models and compare."""
    references = [item.text for item in spoken]
    audio = [item.audio for item in spoken]
    old = count_word_errors_batch(references, before.transcribe(audio))
    new = count_word_errors_batch(references, after.transcribe(audio))
    totals = cluster_totals(
        PairedUtterance(
            utterance_id=str(number),
            cluster=item.caller.speaker_id,
            stratum="traffic",
            weight=1.0,
            words=old[number].reference_words,
            base_errors=old[number].errors,
            candidate_errors=new[number].errors,
        )
        for number, item in enumerate(spoken)
    )
    assert pooled_wer(old) is not None
    return Comparison(
        before=wer_interval(totals.base_errors, totals.words, LEVEL),
        after=wer_interval(totals.candidate_errors, totals.words, LEVEL),
        change=relative_change_interval(totals, LEVEL),
        utterances=len(spoken),
        speakers=len({item.caller.speaker_id for item in spoken}),
    )


class Meter:
    """Wall time, and the largest memory of this process and all its children together, sampled twice a second."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._peak_bytes = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def close(self) -> int:
        """Stop and return the peak in bytes (resident set, shared pages counted in each process)."""
        self._stopped.set()
        self._thread.join()
        return self._peak_bytes

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stopped.wait(0.5):
            total = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self._peak_bytes = max(self._peak_bytes, total)
