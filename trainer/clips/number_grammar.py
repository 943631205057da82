"""How numbers are written and said in each language that `trainer.clips.verbalise` reads: its words, separators and rules."""

from collections.abc import Mapping
from dataclasses import dataclass

MAX_CARDINAL_DIGITS = 9
"""Longer figures are numbers of accounts and telephones, said digit by digit."""
CURRENCIES = "$£€"
"""Symbols that every grammar's `money` names."""

Rules = tuple[tuple[str, str], ...]
"""Patterns and what replaces them."""


@dataclass(frozen=True)
class Grammar:
    """How numbers are written and said in one language.

    Attributes:
        decimal, group: separators within a number; a space groups everywhere.
        sum_and: what may stand between a sum and its hundredths.
        money: symbol to the name of one, of several, and of the hundredths.
        cardinals: rules that each make another form of a cardinal.
        ordinal, ordinals: how ordinals are written, and rules that each make another form of one.
        max_ordinal: the highest that num2words says as people do.
        clock: how a time of day is written: groups `h`, `m`, and `half` where its name is written behind.
        full_hour, time: what is said at `{h}` sharp, and at `{m}` minutes past.
        hours: rules that are applied to what is said.
        digit: a digit with another name when digits are said one by one.
        scales: pattern of the words that may stand between the number of a sum and its symbol's name; by default none.
    """

    decimal: str
    group: str
    point: str
    percent: str
    ampersand: str
    minus: str
    sum_and: str
    money: Mapping[str, tuple[str, str, str]]
    cardinals: Rules
    ordinal: str
    ordinals: Rules
    clock: str
    full_hour: tuple[str, ...]
    time: tuple[str, ...]
    hours: Rules = ()
    max_ordinal: int = 31
    digit: tuple[str, str] | None = None
    scales: str = r"(?!)"


GRAMMARS: Mapping[str, Grammar] = {
    "en": Grammar(
        decimal=".",
        group=",",
        point="point",
        percent="percent",
        ampersand="and",
        minus="minus",
        sum_and="and",
        money={"$": ("one dollar", "dollars", "cents"), "£": ("one pound", "pounds", "pence"), "€": ("one euro", "euros", "cents")},
        cardinals=((r"\band ", ""), (r"^one (?=hundred|thousand)", "a ")),
        ordinal=r"(\d+)(?:st|nd|rd|th)",
        ordinals=((r"\band ", ""),),
        clock=r"(?P<h>\d\d?)(?=:|[ap]m)(?::(?P<m>\d\d))?(?P<half>[ap]m)?",
        full_hour=("{h} o'clock", "{h}"),
        time=("{h} {m}",),
        max_ordinal=10**MAX_CARDINAL_DIGITS,
        digit=("zero", "oh"),
        scales="hundred|thousand|million|billion|trillion",
    ),
    "de": Grammar(
        decimal=",",
        group=".",
        point="komma",
        percent="prozent",
        ampersand="und",
        minus="minus",
        sum_and="und",
        money={"$": ("ein dollar", "dollar", "cent"), "£": ("ein pfund", "pfund", "pence"), "€": ("ein euro", "euro", "cent")},
        cardinals=((r"^ein(?=hundert|tausend)", ""), *((r"^eins$", form) for form in ("ein", "eine", "einen", "einem", "einer"))),
        ordinal=r"(\d+)\.",
        ordinals=tuple((r"$", ending) for ending in "nrsm"),
        clock=r"(?P<h>\d\d?)(?=:|\.\d\duhr)[:.](?P<m>\d\d)(?:uhr)?",
        full_hour=("{h} uhr",),
        time=("{h} uhr {m}",),
        hours=((r"^eins uhr", "ein uhr"),),
        digit=("zwei", "zwo"),
    ),
    "fr": Grammar(
        decimal=",",
        group="",
        point="virgule",
        percent="pour cent",
        ampersand="et",
        minus="moins",
        sum_and="et",
        money={"$": ("un dollar", "dollars", "cents"), "£": ("une livre", "livres", "pence"), "€": ("un euro", "euros", "centimes")},
        cardinals=((r"\bun$", "une"),),
        ordinal=r"(\d+)(?:er|re|ère|i?[eè]me|e|nde?)",
        ordinals=((r"^premier$", "première"), (r"^deuxième$", "second"), (r"^deuxième$", "seconde")),
        clock=r"(?P<h>\d\d?)(?:h|[:h](?P<m>\d\d))",
        full_hour=("{h} heures",),
        time=("{h} heures {m}",),
        hours=((r"\bun heures", "une heures"), (r"^(une|zéro) heures", r"\1 heure")),
    ),
    "es": Grammar(
        decimal=",",
        group=".",
        point="coma",
        percent="por ciento",
        ampersand="y",
        minus="menos",
        sum_and="con",
        money={"$": ("un dólar", "dólares", "centavos"), "£": ("una libra", "libras", "peniques"), "€": ("un euro", "euros", "céntimos")},
        cardinals=((r"veintiuno$", "veintiún"), (r"\buno$", "un"), (r"uno$", "una")),
        ordinal=r"(\d+)\.?(?:er|[oa])",
        ordinals=((r"o$", "a"), (r"^(prim|terc)ero$", r"\1er")),
        clock=r"(?P<h>\d\d?):(?P<m>\d\d)",
        full_hour=("{h} en punto", "{h}"),
        time=("{h} {m}", "{h} y {m}"),
        hours=((r"^(veinti)?uno\b", r"\1una"),),
        max_ordinal=10,
    ),
}
