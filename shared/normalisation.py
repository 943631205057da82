"""Text as it is compared and trained on: one normaliser, with a name that every report carries."""

import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass

# Typed for an apostrophe by keyboards, word processors and language models. The acute accent must be mapped before NFKC, which
# makes a space and a combining mark of it.
_APOSTROPHES = dict.fromkeys(
    map(ord, "\u2018\u2019\u201a\u201b\u02b9\u02bb\u02bc\u02bd\u2032\u2035\u055a\ua78b\ua78c\uff07\u00b4\u0060"), "'"
)
# Read aloud as a word of its own, yet no letter: dropping it would leave a transcript that says less than the speaker did.
_READ_ALOUD_PUNCTUATION = frozenset("%&@#§")
_READ_ALOUD_CATEGORIES = frozenset({"Sc", "Sm", "So"})


@dataclass(frozen=True)
class Normaliser:
    """A named text normalisation; a WER means nothing without the name of the one it was counted under.

    Attributes:
        name_version: written into every report, for example `retune-basic-1`; another rule is another name.
        rule: pure and idempotent.
    """

    name_version: str
    rule: Callable[[str], str]

    def normalise(self, text: str) -> str:
        """Return `text` as it is compared and trained on: words parted by single spaces, none at the ends."""
        return self.rule(text)


def _basic(text: str) -> str:
    spelled = text.translate(_ASCII) if text.isascii() else _spelled(text)
    # Inside a word an apostrophe spells (don't), at its edge it is as likely a quotation mark.
    return " ".join(word for word in (part.strip("'") for part in spelled.split()) if word)


def _spelled(text: str) -> str:
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")  # soft hyphens, joiners, byte-order marks
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible.translate(_APOSTROPHES)).casefold())
    return "".join(char if char == "'" or unicodedata.category(char)[0] in "LMN" else " " for char in folded.translate(_APOSTROPHES))


# No two characters of ASCII compose, so that one at a time gives the same, five times as fast.
_ASCII = {code: _spelled(chr(code)) for code in range(128)}


BASIC = Normaliser(name_version="retune-basic-1", rule=_basic)
"""NFKC, casefold, apostrophe variants to ', dashes and all other punctuation and symbols to a space, spaces collapsed.

Letters, combining marks and digits of every script stay; numbers are not verbalised. Apostrophes at the edge of a word go. Not Whisper's
BasicTextNormalizer, which strips diacritics and vowel signs and so shows a better WER on scripts that need them (arXiv:2409.02449).
"""


def normalise(text: str) -> str:
    """Return `text` under the normaliser in force, `BASIC`."""
    return BASIC.normalise(text)


def unspeakable(text: str, vocabulary: Collection[str]) -> frozenset[str]:
    """Return the characters of a transcript that a CTC vocabulary cannot spell; empty means it can be a training label.

    Digits usually are among them ("5" may be "five" or "fifth"), and so are symbols that are read aloud (%, &, $), which normalisation
    would drop: such a clip must be verbalised or left out, for the tokenizer would turn it into `<unk>` without a word.

    Args:
        text: the transcript as written, before normalisation.
        vocabulary: the tokenizer's tokens in either case; the space needs no entry (it is the word delimiter).
    """
    spelled = {char for token in vocabulary if len(token) == 1 for char in token.casefold()} | {" "}
    read_aloud = {char for char in text if char in _READ_ALOUD_PUNCTUATION or unicodedata.category(char) in _READ_ALOUD_CATEGORIES}
    return frozenset((read_aloud | set(normalise(text))) - spelled)
