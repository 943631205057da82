"""A clip's pinned audio as it was stored, or why the clip cannot be used; no torch."""

from typing import Protocol

from shared.audio_source import AudioPin
from shared.errors import CorruptObject, InvalidMessage, NotFound
from shared.training import Clip, SetAside, SetAsideReason, UnlabelledClip

ClipRow = Clip | UnlabelledClip
"""What a set of a cycle holds."""


class AudioFetcher(Protocol):
    """What we need of `shared.audio_source.AudioSource`."""

    def fetch(self, pin: AudioPin) -> bytes:
        """Return the very bytes that were pinned.

        Raises:
            NotFound: they are gone.
            CorruptObject: other bytes stand there.
            InvalidMessage: the address lies under no allowed prefix.
        """
        ...


class ClipRefused(Exception):
    """One clip cannot be used."""

    def __init__(self, reason: SetAsideReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: SetAsideReason = reason
        self.detail = detail

    def set_aside(self, utterance_id: str, set_name: str) -> SetAside:
        """Return the record of the clip that was refused."""
        return SetAside(utterance_id=utterance_id, set_name=set_name, reason=self.reason, detail=self.detail)


def fetch_audio(audio: AudioFetcher, pin: AudioPin) -> bytes:
    """Return the very bytes that were pinned.

    Raises:
        ClipRefused: missing, changed or not_allowed.
        Retryable: a store could not be reached.
    """
    try:
        return audio.fetch(pin)
    except NotFound as error:
        raise ClipRefused("missing", str(error)) from error
    except CorruptObject as error:
        raise ClipRefused("changed", str(error)) from error
    except InvalidMessage as error:
        raise ClipRefused("not_allowed", str(error)) from error
