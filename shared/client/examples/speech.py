"""What the Python examples have in common, and what a speech-to-text service has anyway: a recogniser, and a place for recordings."""

import io
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from google.cloud import storage
from transformers import AutoProcessor, Wav2Vec2ForCTC

RATE_HZ = 16_000


@dataclass(frozen=True)
class Heard:
    """A transcript with the recogniser's own confidence in [0, 1]: the mean probability of the letters that it chose."""

    text: str
    confidence: float
    duration_s: float


class Recogniser:
    """A wav2vec2 CTC model of a folder, by transformers."""

    def __init__(self, folder: Path) -> None:
        self._model = Wav2Vec2ForCTC.from_pretrained(folder, dtype=torch.float32).eval()
        self._processor = AutoProcessor.from_pretrained(folder)

    def transcribe(self, recording: bytes) -> Heard:
        """Transcribe an audio file: mono at 16 kHz.

        Raises:
            ValueError: it is something else.
        """
        try:
            samples, rate_hz = soundfile.read(io.BytesIO(recording), dtype="float32")
        except soundfile.LibsndfileError as error:
            raise ValueError(f"recording: expected an audio file, found {error}") from error
        if rate_hz != RATE_HZ or samples.ndim != 1:
            raise ValueError(f"recording: expected one channel at {RATE_HZ} Hz, found {rate_hz} Hz in the shape {samples.shape}")
        inputs = self._processor(samples, sampling_rate=rate_hz, return_tensors="pt")
        with torch.inference_mode():
            probabilities = self._model(inputs.input_values).logits[0].softmax(-1)
        best = probabilities.max(-1)
        spoken = best.values[best.indices != self._model.config.pad_token_id]
        confidence = float(spoken.mean()) if spoken.numel() else 0.0
        return Heard(self._processor.decode(best.indices), round(confidence, 4), samples.size / rate_hz)


class Recordings:
    """A bucket for recordings, under a prefix that Retune may read."""

    def __init__(self, bucket: str) -> None:
        self._bucket = storage.Client().bucket(bucket)

    def keep(self, name: str, recording: bytes) -> str:
        """Store a recording and return its address."""
        self._bucket.blob(name).upload_from_string(recording, content_type="audio/wav")
        return f"gs://{self._bucket.name}/{name}"
