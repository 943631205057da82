"""Fuzz target: whatever calls itself audio is a clip of bounded length, or refused. Input: the bytes of a file."""

from collections.abc import Iterator

import numpy as np

from tests.hostile.test_audio_files import DECODERS, flac, wav
from trainer.clips.fetch import ClipRefused

RATE_HZ = 16_000
REFUSAL_CHARS = 1_000
MOST_SAMPLES = 15 * 60 * RATE_HZ
SHORT = (np.sin(np.arange(RATE_HZ // 4) / 7) * 8_000).astype("<i2").tobytes()


def seeds() -> Iterator[bytes]:
    """Yield what is worth starting from."""
    yield wav(SHORT)
    yield wav(SHORT, rate=8_000, channels=2)
    yield wav(SHORT, bits=8)
    yield flac(RATE_HZ // 4)
    yield b"OggS" + bytes(60)


def one(data: bytes) -> None:
    """Decode one file, as the trainer and as `retune finetune` do."""
    for decode in DECODERS.values():
        refusal, samples = "", np.zeros(0, np.float32)
        try:
            samples = decode(data)
        except ClipRefused as refused:
            refusal = str(refused)
        if refusal:
            assert len(refusal) <= REFUSAL_CHARS, "a refusal of a few lines"
            continue
        assert 0 < samples.size <= MOST_SAMPLES
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
