"""A cycle's clips: their audio fetched and checked, their references made into labels; what cannot be used is set aside with a reason."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from shared.audio_source import AudioPin
from shared.normalisation import normalise
from shared.training import HEARD_ROLES, Clip, SetAside, SetRole, TrainingConfig, UnlabelledClip
from shared.whole_file import put_whole
from trainer.clips.audio import JUDGED, Bounds, check_sound, decode_audio, read_waveform, training_bounds
from trainer.clips.fetch import AudioFetcher, ClipRefused, ClipRow, fetch_audio
from trainer.clips.flac import with_length
from trainer.clips.verbalise import Unreadable, as_spoken
from trainer.network.align import LogProbs
from trainer.network.batching import pad_features
from trainer.network.decode import Unspellable, ctc_frames_needed
from trainer.network.features import Frontend
from trainer.network.model import AcousticModel, Samples

DOWNLOADS = 16


@dataclass(frozen=True)
class UsableClip:
    """A checked clip; its audio waits on the local disk.

    Attributes:
        path: the audio file as fetched.
        samples: its length.
        labels: what CTC is to spell; empty in a set that judges.
    """

    clip: Clip
    path: Path
    samples: int
    labels: tuple[int, ...]

    def waveform(self) -> Samples:
        """Decode the audio: `(samples,)` float32 in [-1, 1]."""
        return read_waveform(self.path)


@dataclass(frozen=True)
class UnlabelledOnDisk:
    """A checked clip whose text nobody knows yet; its audio waits on the local disk, under its SHA-256."""

    clip: UnlabelledClip
    set_name: str
    path: Path
    samples: int

    def waveform(self) -> Samples:
        """Decode the audio: `(samples,)` float32 in [-1, 1]."""
        return read_waveform(self.path)


def check_labels(clip: Clip, samples: int, model: AcousticModel, config: TrainingConfig) -> tuple[int, ...]:
    """Return the labels of a training clip.

    Raises:
        ClipRefused: bad_reference (empty, or characters that the vocabulary cannot spell), or too_dense: CTC has fewer
            frames than the labels need, so that its loss is infinite, or nobody speaks that fast.
    """
    try:
        labels = model.vocabulary.encode(clip.reference)
    except Unspellable as error:
        raise ClipRefused("bad_reference", str(error)) from error
    if not labels:
        raise ClipRefused("bad_reference", "expected words, found none")
    frames, needed = model.frames_of(samples), ctc_frames_needed(labels)
    if frames < needed:
        raise ClipRefused("too_dense", f"expected at most {frames} CTC frames, found labels that need {needed}")
    rate = len(labels) * model.sampling_rate_hz / samples
    if rate > config.max_chars_per_s:
        raise ClipRefused("too_dense", f"expected at most {config.max_chars_per_s:g} characters a second, found {rate:.1f}")
    return tuple(labels)


class ClipLoader:
    """Fetches clips into a folder, many at a time, and checks each.

    Args:
        audio: where the pinned bytes come from.
        model: that is to hear them: its rate and vocabulary count, and it chooses among the readings of a number.
        config: how long a clip may be, and how many characters a second.
        folder: made if need be.
    """

    def __init__(self, audio: AudioFetcher, model: AcousticModel, config: TrainingConfig, folder: Path) -> None:
        self._audio = audio
        self._model = model
        self._config = config
        self._bounds = training_bounds(config)
        self._folder = folder
        self._hearing = threading.Lock()
        self._kept: dict[AudioPin, Path] = {}  # a clip may be in several sets: its audio is fetched once
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, clips: Sequence[ClipRow], set_name: str, role: SetRole) -> Iterator[UsableClip | UnlabelledOnDisk | SetAside]:
        """Yield for each clip, in order, what became of it.

        Raises:
            Retryable: a store could not be reached.
        """

        def load_or_set_aside(clip: ClipRow) -> UsableClip | UnlabelledOnDisk | SetAside:
            try:
                if isinstance(clip, UnlabelledClip):
                    return UnlabelledOnDisk(clip, set_name, *self._load_audio(clip.audio, self._bounds, spoken=True))
                return self._load_labelled(clip, role)
            except ClipRefused as refusal:
                return refusal.set_aside(clip.utterance_id, set_name)

        with ThreadPoolExecutor(DOWNLOADS) as pool:
            yield from pool.map(load_or_set_aside, clips)

    def _load_labelled(self, clip: Clip, role: SetRole) -> UsableClip:
        bounds = JUDGED if role == "judge" else self._bounds  # what no model may learn from need not be heard again either
        path, samples = self._load_audio(clip.audio, bounds, spoken=bool(normalise(clip.reference)))
        if role in HEARD_ROLES:
            return UsableClip(clip, path, samples, ())
        clip = self._written_out(clip, path)
        return UsableClip(clip, path, samples, check_labels(clip, samples, self._model, self._config))

    def _load_audio(self, pin: AudioPin, bounds: Bounds, *, spoken: bool) -> tuple[Path, int]:
        """Return where a clip's audio lies and its length; `spoken` audio must not be silent."""
        known = self._kept.get(pin)
        data = known.read_bytes() if known else fetch_audio(self._audio, pin)
        samples = decode_audio(data, self._model.sampling_rate_hz, bounds)
        if spoken:
            check_sound(samples)
        self._kept[pin] = path = known or self._keep(data)
        return path, samples.size

    def _written_out(self, clip: Clip, path: Path) -> Clip:
        """Return the clip with the numbers in its reference written out; of several readings the one that the model hears best."""
        try:
            spoken = as_spoken(clip.reference, self._config.language, lambda: self._hear(path), self._model.vocabulary)
        except Unreadable as error:
            raise ClipRefused("bad_reference", str(error)) from error
        return clip.model_copy(update={"reference": spoken})

    def _hear(self, path: Path) -> LogProbs:
        frontend = Frontend(self._model)
        with self._hearing, torch.inference_mode():  # one at a time: such clips are rare, and the network takes all cores
            logits = frontend.above(*pad_features(frontend.below([read_waveform(path)])))[0]
        log_probs: LogProbs = logits.log_softmax(dim=-1).cpu().numpy()
        return log_probs

    def _keep(self, data: bytes) -> Path:
        data = with_length(data)  # for readers that only know files with a length
        path = self._folder / sha256(data).hexdigest()
        if not path.exists():
            put_whole(path, data)
        return path
