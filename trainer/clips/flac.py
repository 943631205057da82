"""FLAC that a pipe wrote: its header does not tell how many samples there are, and libsndfile cannot seek to the end of such a file.

STREAMINFO, the first block of metadata: 10 bytes of block and frame sizes, 20 bits of rate, 3 of channels, 5 of sample width, 36 of the
number of samples (0 = unknown), an MD5. Source: RFC 9639, section 8.2.
"""

from io import BytesIO

import soundfile

MAX_S = 600.0
"""Nobody hears more: behind that the samples of a file need not be counted."""
MAX_RATE_HZ = 192_000
"""A file that claims more is refused for its rate, and need not be counted either."""
_HEADER = b"fLaC\x00\x00\x00\x22"
_HEADER_LAST = b"fLaC\x80\x00\x00\x22"
_COUNT = slice(18, 26)
"""The eight bytes that end with the number of samples."""
_COUNT_MASK = (1 << 36) - 1
HEAD_BYTES = _COUNT.stop
_BLOCK_VALUES = 1 << 16


class _FromTheStart(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is read once, in order: otherwise every read ends with a seek, which fails at the end of what has no length."""

    def seekable(self) -> bool:
        return False


def has_no_length(head: bytes) -> bool:
    """Tell whether the first `HEAD_BYTES` of a file are those of a FLAC of unknown length."""
    if len(head) < _COUNT.stop or not head.startswith((_HEADER, _HEADER_LAST)):
        return False
    return int.from_bytes(head[_COUNT], "big") & _COUNT_MASK == 0


def with_length(data: bytes) -> bytes:
    """Return a file as it is, or, of a FLAC of unknown length, with the number of its samples in the header.

    They are decoded for it, a block at a time, as far as anybody would hear them: the number is at least one too many where more follow.

    Raises:
        soundfile.SoundFileError: it is no FLAC, or ends inside a frame.
    """
    if not has_no_length(data[: _COUNT.stop]):
        return data
    with _FromTheStart(BytesIO(data)) as file:
        if file.samplerate > MAX_RATE_HZ:
            return data
        samples, most, step = 0, int(MAX_S * file.samplerate) + 1, max(1, _BLOCK_VALUES // file.channels)
        while samples < most and (read := len(file.read(step, dtype="int16", always_2d=True))):
            samples += read
    if not samples:
        return data
    counted = (int.from_bytes(data[_COUNT], "big") | samples).to_bytes(8, "big")
    return data[: _COUNT.start] + counted + data[_COUNT.stop :]
