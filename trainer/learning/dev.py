"""Clips of dev speakers, transcribed again and again while training goes on: their values at the cut are computed once."""

from collections.abc import Sequence
from functools import partial

import torch

from shared.documents import Frozen
from shared.wer import ErrorCounts, count_word_errors_batch, pooled_wer
from trainer.clips.load import UsableClip
from trainer.network.decode import greedy_transcripts
from trainer.network.features import FeatureCache, Frontend
from trainer.network.memory import in_halves
from trainer.recogniser import batches_to_hear


class DevSet:
    """Clips with their references."""

    def __init__(self, frontend: Frontend, clips: Sequence[UsableClip]) -> None:
        self._frontend = frontend
        self._references = [clip.clip.reference for clip in clips]
        self._cache = FeatureCache(frontend, [clip.waveform for clip in clips])
        self._batches = batches_to_hear(frontend.model, [clip.samples for clip in clips])

    def count_errors(self) -> list[ErrorCounts]:
        """Return the word errors of each clip with the network's present weights."""
        heard = [""] * len(self._references)
        with torch.no_grad():  # not inference mode: a weight that is folded here for the first time is used in training, too
            for batch, values, lengths in self._cache.batches(self._batches):
                texts = in_halves(partial(self._transcribe, values, lengths), range(len(batch)))
                for index, text in zip(batch, texts, strict=True):
                    heard[index] = text
        return count_word_errors_batch(self._references, heard)

    def _transcribe(self, values: torch.Tensor, lengths: torch.Tensor, rows: Sequence[int]) -> list[str]:
        some = lengths[rows]
        logits = self._frontend.above(values[rows, : int(some.max())], some)
        return greedy_transcripts(logits, some, self._frontend.model.vocabulary)


class DevWer(Frozen):
    """Pooled WER on dev; None where there are no reference words.

    Attributes:
        errors: on reported errors.
        replay: on trusted clips.
        empty_share: of all clips with words, those in which nothing was heard: where it rises, the network falls silent.
    """

    errors: float | None
    replay: float | None
    empty_share: float = 0.0

    @property
    def deciding(self) -> float | None:
        """What epochs are compared by: the errors', where there are any.

        Not both together: clean speech is worst in the first epochs, at full strength and the highest rate, and pooled it chose an epoch
        that had hardly begun to learn. What clean speech can bear is decided afterwards, by the scale.
        """
        return self.replay if self.errors is None else self.errors


class DevSets:
    """Both dev sets of a run."""

    def __init__(self, frontend: Frontend, errors: Sequence[UsableClip], replay: Sequence[UsableClip]) -> None:
        self._errors = DevSet(frontend, errors)
        self._replay = DevSet(frontend, replay)

    def wer(self) -> DevWer:
        """Measure with the network's present weights; nothing random may be switched on."""
        errors, replay = self._errors.count_errors(), self._replay.count_errors()
        spoken = [counts for counts in (*errors, *replay) if counts.reference_words]
        silent = sum(counts.deletions == counts.reference_words for counts in spoken)
        return DevWer(errors=pooled_wer(errors), replay=pooled_wer(replay), empty_share=silent / len(spoken) if spoken else 0.0)
