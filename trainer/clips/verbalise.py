"""Numbers written out as they may have been spoken, for labels that a CTC vocabulary can spell; the sound chooses among the readings.

What has no sure reading is refused, for a wrong label is worse than a clip less. Only languages whose rules stand in
`trainer.clips.number_grammar` are read: num2words knows more, yet nothing of genders, separators, or what is said on a telephone.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise, product

from num2words import num2words

from shared.normalisation import normalise, unspeakable
from trainer.clips.number_grammar import CURRENCIES, GRAMMARS, MAX_CARDINAL_DIGITS, Grammar, Rules
from trainer.network.align import LogProbs, viterbi
from trainer.network.decode import Unspellable, Vocabulary

MAX_READINGS = 16
YEARS = range(1100, 2100)


class Unreadable(ValueError):
    """Nobody can tell how a token was spoken."""

    def __init__(self, token: str, expected: str) -> None:
        super().__init__(f"token {token!r}: expected {expected}; write it out as it was spoken, or leave the clip out")


_EDGE = re.escape("()[]{}\"'*_;:!?¡¿…“”„«»‚‘’")  # noqa: RUF001 - quotation marks
# A point or comma before a figure makes a fraction of it, and so does not count as punctuation there.
_TOKEN = re.compile(rf"([{_EDGE}]*)(.*?)([{_EDGE}.,]*)")
_SPACED = re.compile(r"(?<![\d.,])(?<!\d\s)[1-9]\d{0,2}(?:\s\d{3})+(?!\s?\d)")
# A symbol belongs to the number beside it, and "Uhr" to its time: apart they would be read twice or in the wrong order.
_JOIN = re.compile(rf"(?<=\d)\s+(?=[%{CURRENCIES}](?!\w))|(?<=[{CURRENCIES}])\s+(?=\d)|(?<=\d[:.]\d\d)\s+(?=Uhr\b)")
_DATE_OR_SPAN = re.compile(r"\d{4}-\d\d?-\d\d?|\d\d?-\d\d?-\d{4}|\d{4}-\d{4}")


def readings(text: str, language: str) -> list[str]:
    """Return the ways in which a text may have been spoken, at most 16; the text alone where nothing in it needs a reading.

    Written out are whole numbers (cardinal, digit by digit, as a year), ordinals, decimals, sums of money, percentages, times of day,
    telephone numbers and the ampersand. Of more than 16 combinations those come first that read all numbers alike.

    Args:
        text: as written, before normalisation.
        language: ISO 639-1.

    Raises:
        Unreadable: a token has no reading that is surely among ours, or the language is not one of `GRAMMARS`.
    """
    if not needs_reading(text):
        return [text]
    if language not in GRAMMARS:
        token = next((token for token in text.split() if needs_reading(token)), text)
        raise Unreadable(token, f"words, or a language among {', '.join(sorted(GRAMMARS))} and not {language!r}")
    # an underscore holds together what one number is
    joined = _JOIN.sub("", _SPACED.sub(lambda match: "_".join(match[0].split()), text.replace("\u2014", " ")))
    grammar = GRAMMARS[language]
    joined = re.sub(rf"([{CURRENCIES}]\d[\d.,]*)\s+({grammar.scales})\b", r"\1_\2", joined)
    reader = _Reader(language, grammar)
    return _distinct(" ".join(words) for words in _combinations([reader.token(token) for token in joined.split()]))


def choose_reading(log_probs: LogProbs, candidates: Sequence[str], vocabulary: Vocabulary) -> str:
    """Return the reading that a clip's frames bear out best.

    It is the best of those given, which need not be right: it must be judged as any proposed text is.

    Args:
        log_probs: `(frames, outputs)`, natural logarithms, finite.
        candidates: see `readings`.
        vocabulary: what the outputs stand for.

    Raises:
        Unreadable: none can be spelled and fits into the frames.
        ValueError: no frame, or a log-probability that is no finite number.
    """
    scored = []
    for text in candidates:
        try:
            alignment = viterbi(log_probs, vocabulary.encode(text), vocabulary.blank, vocabulary.delimiter_id)
        except Unspellable:
            continue
        if alignment is not None:
            scored.append((alignment.score, text))
    if not scored:
        raise Unreadable(" / ".join(candidates), f"a reading in letters of the vocabulary that fits into {len(log_probs)} frames")
    return max(scored, key=lambda pair: pair[0])[1]


def as_spoken(text: str, language: str | None, hear: Callable[[], LogProbs], vocabulary: Vocabulary) -> str:
    """Return a text with its numbers written out, of several readings in the one that its clip's frames bear out best.

    Args:
        text: as written, before normalisation.
        language: ISO 639-1; None = unknown: the text stays as it is.
        hear: gives the clip's frames, see `choose_reading`; called only where there are several readings.
        vocabulary: what the outputs stand for.

    Raises:
        Unreadable: see `readings` and `choose_reading`.
    """
    if language is None:
        return text
    candidates = readings(text, language)
    return candidates[0] if len(candidates) == 1 else choose_reading(hear(), candidates, vocabulary)


def spoken_if_readable(text: str, language: str | None, log_probs: LogProbs, vocabulary: Vocabulary) -> str:
    """Return a text `as_spoken` in a clip that was heard already; as it is where nobody can read it."""
    try:
        return as_spoken(text, language, lambda: log_probs, vocabulary)
    except Unreadable:
        return text


def needs_reading(text: str) -> bool:
    """Tell whether a text holds digits or symbols that are read aloud: it must be written out before it can be trained on."""
    letters = {char for char in normalise(text) if unicodedata.category(char)[0] in "LM"}
    return bool(unspeakable(text, letters | {"'"}))


def _combinations(options: Sequence[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    for style in range(max(map(len, options))):
        yield tuple(choices[min(style, len(choices) - 1)] for choices in options)
    usual = tuple(choices[0] for choices in options)
    for index, choices in enumerate(options):
        for choice in choices[1:]:
            yield (*usual[:index], choice, *usual[index + 1 :])
    yield from product(*options)


def _distinct(texts: Iterable[str]) -> list[str]:
    found: dict[str, str] = {}
    # some texts come twice, but a long product of choices must not be walked to its end
    for text in islice(texts, 8 * MAX_READINGS):
        found.setdefault(normalise(text), text)
    return list(found.values())[:MAX_READINGS]


def _forms(text: str, rules: Rules) -> list[str]:
    return [text, *(re.sub(pattern, replacement, text) for pattern, replacement in rules)]


class _Reader:
    """Reads tokens in one language; what a method cannot read it gives an empty list for."""

    def __init__(self, language: str, grammar: Grammar) -> None:
        self._language = language
        self._grammar = grammar
        self._number = rf"(\d{{1,3}}(?:[{grammar.group}_]\d{{3}})+|\d+)(?:[{grammar.decimal}](\d+))?"

    def token(self, token: str) -> list[str]:
        match = _TOKEN.fullmatch(token)
        assert match is not None  # each of its three parts may be empty
        before, core, after = match.groups()
        if not needs_reading(core):
            return [token]
        said = self._core(unicodedata.normalize("NFKC", core))
        if after.startswith("."):
            said += self._ordinal(f"{core}.")
        if not said or any(unicodedata.category(char) in {"No", "Nl"} for char in core):
            raise Unreadable(token.replace("_", " "), f"a number that is read in one of a few ways in {self._language!r}")
        return [f"{before}{words}{after}" for words in _distinct(said)]

    def _core(self, core: str) -> list[str]:
        ways = (self._plain, self._ordinal, self._percentage, self._sum, self._time, self._telephone, self._compound)
        return next((said for way in ways if (said := way(core))), [])

    def _plain(self, core: str) -> list[str]:
        match = re.fullmatch(rf"([-\u2013\u2212]?){self._number}", core)
        if not match:
            return []
        sign, whole, part = match.groups()
        said = self._quantity(whole, part)
        groups = whole.split("_")
        if not part and len(groups) > 1:
            said.append(self._in_groups(groups))
        elif not part and whole.isdigit():
            known = len(whole) == 1 or not (whole[0] == "0" or len(whole) > MAX_CARDINAL_DIGITS)
            year = [num2words(int(whole), to="year", lang=self._language)] if known and int(whole) in YEARS else []
            said = [*(said if known else ()), *year, *self._digits(whole)]
        return [f"{self._grammar.minus} {words}" for words in said] if sign else said

    def _quantity(self, whole: str, part: str | None) -> list[str]:
        value = int("".join(filter(str.isdigit, whole)))
        if value >= 10 ** (2 * MAX_CARDINAL_DIGITS):
            return []
        cardinals = self._cardinals(value)
        if not part:
            return cardinals
        tails = self._digits(part) + (self._cardinals(int(part)) if len(part) == 2 and part[0] != "0" else [])
        heads = [*cardinals, ""] if value == 0 else cardinals
        return [f"{head} {self._grammar.point} {tail}".strip() for head in heads for tail in tails]

    def _cardinals(self, value: int) -> list[str]:
        return _forms(num2words(value, lang=self._language), self._grammar.cardinals)

    def _digits(self, figures: str) -> list[str]:
        said = " ".join(num2words(int(figure), lang=self._language) for figure in figures)
        return [said, said.replace(*self._grammar.digit)] if self._grammar.digit else [said]

    def _in_groups(self, groups: Sequence[str]) -> str:
        return " ".join((self._digits(group) if group[0] == "0" else self._cardinals(int(group)))[0] for group in groups)

    def _ordinal(self, core: str) -> list[str]:
        match = re.fullmatch(self._grammar.ordinal, core, re.IGNORECASE)
        if not match or not 1 <= int(match[1]) <= self._grammar.max_ordinal:
            return []
        return _forms(num2words(int(match[1]), to="ordinal", lang=self._language), self._grammar.ordinals)

    def _percentage(self, core: str) -> list[str]:
        match = re.fullmatch(rf"{self._number}%", core)
        return [f"{words} {self._grammar.percent}" for words in self._quantity(*match.groups())] if match else []

    def _sum(self, core: str) -> list[str]:
        match = re.fullmatch(rf"([{CURRENCIES}]){self._number}(?:_({self._grammar.scales}))?", core)
        if match:
            symbol, whole, part, scale = match.groups()
        elif match := re.fullmatch(rf"{self._number}([{CURRENCIES}])", core):
            (whole, part, symbol), scale = match.groups(), None
        else:
            return []
        one, many, hundredths = self._grammar.money[symbol]
        if scale:
            return [f"{words} {scale} {many}" for words in self._quantity(whole, part)]
        cardinals = self._quantity(whole, None)
        units = [one] if whole == "1" else [f"{words} {many}" for words in cardinals]
        if part in {None, "00"}:
            return units
        if len(part) != 2 or part == "01":
            return []
        small = self._cardinals(int(part))[0]
        if whole == "0":
            return [f"{small} {hundredths}"]
        glue = self._grammar.sum_and
        full = [f"{words} {joint}" for words in units for joint in (f"{glue} {small} {hundredths}", small, f"{small} {hundredths}")]
        return [*full, *(f"{words} {small}" for words in cardinals)]

    def _time(self, core: str) -> list[str]:
        match = re.fullmatch(self._grammar.clock, core.casefold())
        if not match or int(match["h"]) > 24 or int(match["m"] or 0) > 59:
            return []
        hour, minutes, half = num2words(int(match["h"]), lang=self._language), match["m"] or "00", match.groupdict().get("half")
        if minutes == "00":
            said = [way.format(h=hour) for way in self._grammar.full_hour]
        else:
            small = self._digits(minutes) if minutes[0] == "0" else []
            said = [way.format(h=hour, m=m) for way in self._grammar.time for m in [*small, self._cardinals(int(minutes))[0]]]
        for pattern, replacement in self._grammar.hours:
            said = [re.sub(pattern, replacement, words) for words in said]
        return [f"{words} {name}" for words in said for name in (half, " ".join(half))] if half else said

    def _telephone(self, core: str) -> list[str]:
        match = re.fullmatch(r"(\+?)(\d+(?:-\d+)*|\d\d(?:\.\d\d){4})", core)
        if not match or _DATE_OR_SPAN.fullmatch(core):
            return []
        groups = re.split(r"[-.]", match[2])
        if sum(map(len, groups)) < 7:
            return []
        said = self._digits("".join(groups))
        if len(groups) > 1 and all(len(group) <= 2 for group in groups):
            said.append(self._in_groups(groups))
        return [*(f"plus {words}" for words in said), *said] if match[1] else said

    def _compound(self, core: str) -> list[str]:
        if match := re.fullmatch(r"([^\W\d_]+)(\d+)", core):
            return [f"{match[1]} {words}" for words in self._plain(match[2])]
        parts = re.split(r"[- ]", core.replace("&", f" {self._grammar.ampersand} ").strip())
        numeric = [needs_reading(part) for part in parts]
        # two numbers side by side, "5-6", may be "five to six", "five six", "five minus six"
        if parts == [core] or not all(parts) or any(left and right for left, right in pairwise(numeric)):
            return []
        options = [self._core(part) if figures else [part] for part, figures in zip(parts, numeric, strict=True)]
        return [" ".join(words) for words in islice(_combinations(options), MAX_READINGS)] if all(options) else []
