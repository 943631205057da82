"""Word diffs and links to the audio, as values that the page only has to lay out."""

from dataclasses import dataclass
from urllib.parse import quote

from shared.verdict import UtteranceChange
from shared.wer_align import align_words

_CONSOLE = "https://console.cloud.google.com/storage/browser/_details/"


@dataclass(frozen=True)
class Word:
    """One step of a transcript: `hit`, `substitution`, `deletion` or `insertion`.

    Attributes:
        said: the word of the reference; empty for an insertion.
        heard: the word of the transcript; empty for a deletion.
    """

    kind: str
    said: str
    heard: str


@dataclass(frozen=True)
class ShownChange:
    """An utterance as the page shows it.

    Attributes:
        base, candidate: what each model made of the reference, word by word.
        link: where a person can hear it; None where its address is no link.
    """

    change: UtteranceChange
    base: tuple[Word, ...]
    candidate: tuple[Word, ...]
    link: str | None


def shown(change: UtteranceChange) -> ShownChange:
    """Return an utterance with its transcripts aligned to what was said."""
    return ShownChange(
        change=change,
        base=compared(change.reference, change.base_hypothesis),
        candidate=compared(change.reference, change.candidate_hypothesis),
        link=audio_link(change.audio_uri),
    )


def compared(reference: str, hypothesis: str) -> tuple[Word, ...]:
    """Return a transcript aligned to what was said."""
    return tuple(Word(step.kind, step.reference, step.hypothesis) for step in align_words(reference, hypothesis))


def audio_link(uri: str) -> str | None:
    """Return the address at which a browser shows an audio file: the Cloud console's for gs://, itself for file://, else None.

    The text is others' and no other scheme gets through: a `javascript:` address would be run by a click.
    """
    scheme, _, path = uri.partition("://")
    if scheme == "gs":
        return _CONSOLE + quote(path)
    return f"file://{quote(path)}" if scheme == "file" else None
