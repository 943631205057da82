"""Text from outside on a terminal: what a terminal would obey is seen instead of done. Pure."""

from itertools import chain

_KEPT = {"\n", "\t"}
_SHOWN_AS = 0x2400
"""The control characters have pictures there, in their own order: ESC is U+241B."""
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"

_TABLE: dict[int, str] = {
    **{code: chr(_SHOWN_AS + code) for code in range(0x20) if chr(code) not in _KEPT},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **dict.fromkeys(chain(range(0x80, 0xA0), range(0x202A, 0x202F), range(0x2066, 0x206A), range(0xD800, 0xE000)), _UNKNOWN),
}


def visible(text: str) -> str:
    """Return text of the same length without a character that moves a cursor, changes colours or titles, or turns the order of reading.

    C0 (all but line break and tab) and DEL become their pictures; C1, overrides and isolates of the reading direction (U+202A-202E,
    U+2066-2069) and lone surrogates become U+FFFD.

    Source: ECMA-48, section 5; Unicode Standard Annex 9; Boucher and Anderson 2021, "Trojan Source".
    """
    return text.translate(_TABLE)
