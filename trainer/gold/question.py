"""What is asked of a model and what it gives back, and the port behind which every kind of model stands."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shared.gold import GoldConfig


@dataclass(frozen=True)
class GoldQuestion:
    """One clip whose transcript is asked for.

    Attributes:
        hypothesis: what the recogniser heard.
        duration_s: length of the audio, in seconds.
        audio_sha256: of the file's bytes, in hexadecimal.
        read_audio: gives the file's bytes (WAV, FLAC, MP3 or Ogg). Called only where the model hears and has not answered before; from
            other threads than the caller's, and for several clips at once.
        uncertain_words: words of the hypothesis that the recogniser was not sure of.
    """

    utterance_id: str
    hypothesis: str
    duration_s: float
    audio_sha256: str
    read_audio: Callable[[], bytes]
    uncertain_words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Usage:
    """What requests used: tokens read and written, and seconds of audio heard."""

    input_tokens: int = 0
    output_tokens: int = 0
    audio_s: float = 0.0

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.audio_s + other.audio_s,
        )


@dataclass(frozen=True)
class Reply:
    """One answer; `usage` is None where the endpoint did not say."""

    text: str
    usage: Usage | None


class GoldTranscriber(Protocol):
    """A model that can be asked; safe to call from many threads at once."""

    @property
    def config(self) -> GoldConfig:
        """How it is asked."""
        ...

    @property
    def requests(self) -> int:
        """How many HTTP requests it has sent so far."""
        ...

    def ask(self, question: GoldQuestion, sample: int) -> Reply:
        """Send one request and return what the model answered; `sample` counts from 0 and makes answers differ.

        Raises:
            RequestFailed: there is no usable answer, saying of which kind the problem is.
            CorruptObject: the audio is not what `audio_sha256` promised.
        """
        ...
