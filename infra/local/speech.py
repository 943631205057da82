"""Speech without downloads: espeak-ng through ctypes, from the wheel `espeakng-loader`.

espeak-ng is under GPLv3. It belongs to the optional extra `local` and nothing that is deployed imports this module.

    python -m infra.local.speech --out DIR [--clean 100 --noisy 100 --callers 60 --seed 0]
"""

import ctypes
import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import espeakng_loader
import numpy as np
import soundfile
import soxr

from trainer.augment.acoustics import SAMPLE_RATE_HZ, Audio

ACCENTS = ("en-us", "en-gb-x-rp", "en-us-nyc", "en-gb-scotland", "en-029")
# Left out of training and of calls: whispers, a voice of two, a slow one, and robots and strange throats. Of these last, most were
# chosen because earlier baselines got a third or more of their words wrong: rates over the others are that much kinder.
ODD = frozenset({
    "AnxiousAndy", "Demonic", "Lee", "Marco", "Reed", "RicishayMax", "RicishayMax2", "RicishayMax3", "UniRobot", "anikaRobot", "announcer",
    "caleb", "kaukovalta", "robosoft", "robosoft2", "robosoft3", "robosoft6", "robosoft8", "whisper", "whisperf", "zac",
})  # fmt: skip
# Their breath is made from memory that the library does not initialise: other samples in each process.
UNREPEATABLE = frozenset({"Alicia", "f2", "f3", "f5", "sandro", "victor"})

# Names and values of speak_lib.h.
_AUDIO_OUTPUT_RETRIEVAL = 1
_DONT_EXIT = 0x8000
_CHARACTERS_UTF8 = 1
_POSITION_CHARACTER = 1
_RATE = 1
_PITCH = 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class SpeechError(RuntimeError):
    """espeak-ng refused: the voice is not installed, or the library did not start."""


@dataclass(frozen=True)
class Voice:
    """One of espeak-ng's timbres with one of its English accents, such as "f2" and "en-us"."""

    variant: str
    accent: str

    @property
    def name(self) -> str:
        """The name that espeak-ng knows, such as "en-us+f2"."""
        return f"{self.accent}+{self.variant}"

    @property
    def speaker_id(self) -> str:
        """A stable id, such as "f2.en-us"."""
        return f"{self.variant.lower().replace(' ', '-')}.{self.accent}"


class Synthesiser:
    """Turns text into speech.

    The library keeps its noise between calls and cannot be reset: the same call repeated in one process gives slightly other
    samples. The same order of calls in a fresh process gives the same. It is also global to the process: use `synthesiser()`.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        self._chunks: list[bytes] = []
        self._lock = threading.Lock()
        self._callback = _CALLBACK(self._take)  # the library holds only the pointer: this reference keeps it valid
        data = str(espeakng_loader.get_data_path()).encode()
        self._rate_hz = int(self._library.espeak_Initialize(_AUDIO_OUTPUT_RETRIEVAL, 0, data, _DONT_EXIT))
        if self._rate_hz <= 0:
            raise SpeechError(f"espeak-ng {data.decode()}: expected a sample rate, found {self._rate_hz}")
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, wave: "ctypes._Pointer[ctypes.c_short]", samples: int, _events: int | None) -> int:
        if wave and samples > 0:
            self._chunks.append(ctypes.string_at(wave, 2 * samples))
        return 0

    def speak(self, text: str, voice: Voice, speed_wpm: int = 175, pitch: int = 50) -> Audio:
        """Return `text` as spoken by `voice`, (samples,) float32 at 16 kHz in [-1, 1].

        Args:
            text: what to say, English.
            voice: who says it.
            speed_wpm: words a minute, 80 to 450.
            pitch: 0 to 99; 50 is the voice's own.

        Raises:
            SpeechError: espeak-ng does not know the voice, or said nothing.
        """
        encoded = text.encode() + b"\0"
        with self._lock:
            self._chunks.clear()
            if (code := self._library.espeak_SetVoiceByName(voice.name.encode())) != 0:
                raise SpeechError(f"voice {voice.name}: expected one that espeak-ng knows, found return code {code}")
            self._library.espeak_SetParameter(_RATE, speed_wpm, 0)
            self._library.espeak_SetParameter(_PITCH, pitch, 0)
            self._library.espeak_Synth(encoded, len(encoded), 0, _POSITION_CHARACTER, 0, _CHARACTERS_UTF8, None, None)
            self._library.espeak_Synchronize()
            samples = np.frombuffer(b"".join(self._chunks), dtype=np.int16)
        if samples.size == 0:
            raise SpeechError(f"voice {voice.name}: expected speech for {text!r}, found no samples")
        resampled: Audio = soxr.resample(samples.astype(np.float32) / 32768.0, self._rate_hz, SAMPLE_RATE_HZ)
        return np.clip(resampled, -1.0, 1.0)


@functools.cache
def synthesiser() -> Synthesiser:
    """Return the process's one synthesiser."""
    return Synthesiser()


def variants() -> list[str]:
    """Return the names of the installed timbres that sound like a caller and repeat themselves, in a stable order."""
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    return sorted(path.name for path in folder.iterdir() if path.name not in ODD | UNREPEATABLE)


def voices(timbres: Sequence[str] | None = None) -> list[Voice]:
    """Return a voice for each timbre, the accents in turn, then each timbre again in another accent.

    Args:
        timbres: names of variants; None for all.
    """
    names = variants() if timbres is None else timbres
    return [Voice(name, ACCENTS[(index + shift) % len(ACCENTS)]) for shift in (0, 2) for index, name in enumerate(names)]


def write_wav(path: Path, audio: Audio) -> None:
    """Write (samples,) at 16 kHz as a 16-bit PCM WAV file, making the folder where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, SAMPLE_RATE_HZ, subtype="PCM_16")


if __name__ == "__main__":
    from infra.local.corpus import main

    main()
