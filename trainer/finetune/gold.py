"""Gold for the clips of a folder, from the endpoint that the flags name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.dir_store import DirStore
from shared.gold import GoldConfig, GoldRecord
from shared.objectstore import ObjectStore
from trainer.finetune.measure import HeardClip
from trainer.gold.make import GoldMaker, SpokenClip
from trainer.gold.transcribers import open_transcriber
from trainer.recogniser import Recogniser
from trainer.shell.progress import Progress


@dataclass(frozen=True)
class LlmGold:
    """Asks an endpoint; see `GoldPort`.

    Attributes:
        environ: holds the key.
        answers: keeps what was answered, for this run and any later one.
    """

    config: GoldConfig
    environ: Mapping[str, str]
    answers: ObjectStore

    def __call__(
        self, asked: Sequence[HeardClip], trusted: Sequence[HeardClip], base: Recogniser, progress: Progress
    ) -> Sequence[GoldRecord]:
        """Return a record for each clip of `asked`.

        Raises:
            GoldUnavailable: the endpoint cannot be asked; what it answered is kept.
        """
        maker = GoldMaker(base, open_transcriber(self.config, self.environ), self.answers, "answers/")
        gold = maker.make(
            [_spoken(each, None) for each in asked], [_spoken(each, each.clip.source.transcript) for each in trusted], progress
        )
        progress.log("asked", requests=gold.totals.requests, tokens=gold.totals.usage.tokens, usd=gold.totals.usd)
        return gold.records


def kept_answers(environ: Mapping[str, str]) -> DirStore:
    """Return the user's own store of answers: a new run on the same audio asks nothing twice."""
    return DirStore(Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "retune" / "gold")


def _spoken(heard: HeardClip, reference: str | None) -> SpokenClip:
    clip = heard.clip
    return SpokenClip(
        utterance_id=heard.utterance_id,
        condition=clip.source.condition,
        samples=clip.samples,
        waveform=clip.waveform,
        read_audio=clip.source.path.read_bytes,
        audio_sha256=clip.sha256,
        reference=reference,
    )
