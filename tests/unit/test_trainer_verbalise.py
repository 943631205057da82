"""Numbers written out; the expectations are written by hand."""

from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from shared.normalisation import normalise, unspeakable
from trainer.clips.verbalise import MAX_READINGS, Unreadable, as_spoken, choose_reading, readings, spoken_if_readable
from trainer.network.align import LogProbs
from trainer.network.decode import Vocabulary
from trainer.testing import VOCABULARY

pytestmark = pytest.mark.torch

TOKENS = Vocabulary(tuple(VOCABULARY), blank=0)


def said(text: str, language: str = "en") -> list[str]:
    return [normalise(reading) for reading in readings(text, language)]


def frames(heard: str, sure: float = 0.9) -> LogProbs:
    """Return log-probabilities of a clip in which `heard` is heard, a blank between its characters."""
    path = [TOKENS.blank, *(label for char in TOKENS.encode(heard) for label in (char, TOKENS.blank))]
    rows = np.full((len(path), len(TOKENS.tokens)), (1 - sure) / (len(TOKENS.tokens) - 1))
    rows[range(len(path)), path] = sure
    log_probs: LogProbs = np.log(rows)
    return log_probs


@pytest.mark.parametrize("language", ["en", "de", "xx"])
def test_a_text_without_numbers_stays_as_it_is(language: str) -> None:
    assert readings("Don't, said  Anna \u2013 no!", language) == ["Don't, said  Anna \u2013 no!"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Room 5, please", ["room five please"]),
        ("(23)", ["twenty three", "two three"]),
        ("105", ["one hundred and five", "one hundred five", "a hundred and five", "one zero five", "one oh five"]),
        (
            "1,234",
            ["one thousand two hundred and thirty four", "one thousand two hundred thirty four", "a thousand two hundred and thirty four"],
        ),
        ("50 000", ["fifty thousand", "fifty zero zero zero"]),
        ("2005", ["two thousand and five", "two thousand five", "two zero zero five", "two oh oh five"]),
        ("007", ["zero zero seven", "oh oh seven"]),
        ("12345678901", ["one two three four five six seven eight nine zero one", "one two three four five six seven eight nine oh one"]),
        ("555-1234", ["five five five one two three four"]),
        ("+445551234", ["plus four four five five five one two three four", "four four five five five one two three four"]),
        ("-5", ["minus five"]),
        ("5th", ["fifth"]),
        ("the 21st.", ["the twenty first"]),
        ("101st", ["one hundred and first", "one hundred first"]),
        ("3.5", ["three point five"]),
        ("3.14", ["three point one four", "three point fourteen"]),
        ("0.05", ["zero point zero five", "zero point oh five", "point zero five", "point oh five"]),
        ("50%", ["fifty percent"]),
        ("50 % off", ["fifty percent off"]),
        ("$1", ["one dollar"]),
        ("$5", ["five dollars"]),
        ("\u00a35 or 5 \u20ac", ["five pounds or five euros"]),
        ("$0.50", ["fifty cents"]),
        ("\u00a35.20", ["five pounds and twenty pence", "five pounds twenty", "five pounds twenty pence", "five twenty"]),
        ("$2.5 million", ["two point five million dollars"]),
        ("5:30", ["five thirty"]),
        ("5:05", ["five zero five", "five oh five", "five five"]),
        ("5:00", ["five o'clock", "five"]),
        ("12:30pm", ["twelve thirty pm", "twelve thirty p m"]),
        ("R&D & more", ["r and d and more"]),
        ("COVID-19", ["covid nineteen", "covid one nine"]),
        ("a 5-year-old", ["a five year old"]),
        ("B12", ["b twelve", "b one two"]),
        ("9 to 5\u2014maybe", ["nine to five maybe"]),
        ("\uff15", ["five"]),
    ],
)
def test_english_is_read_as_people_say_it(text: str, expected: list[str]) -> None:
    assert said(text) == expected


def test_a_year_is_read_in_pairs_too_and_only_a_year() -> None:
    assert "nineteen ninety nine" in said("1999")
    assert "nineteen oh five" in said("1905")
    assert "twenty nineteen" in said("2019")
    assert "ten sixty six" not in said("1066")
    assert "twenty one hundred" not in said("2100")


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "23", ["dreiundzwanzig", "zwei drei", "zwo drei"]),
        ("de", "1 Konto", [f"{form} konto" for form in ("eins", "ein", "eine", "einen", "einem", "einer")]),
        ("de", "1.200 Kunden", ["eintausendzweihundert kunden", "tausendzweihundert kunden"]),
        ("de", "3,5", ["drei komma f\u00fcnf"]),
        ("de", "am 3. Mai", [f"am {form} mai" for form in ("drei", "dritte", "dritten", "dritter", "drittes", "drittem")]),
        ("de", "um 17.30 Uhr", ["um siebzehn uhr dreissig"]),
        ("de", "um 1:00", ["um ein uhr"]),
        ("de", "20 %", ["zwanzig prozent"]),
        (
            "de",
            "2,50 \u20ac",
            ["zwei euro und f\u00fcnfzig cent", "zwei euro f\u00fcnfzig", "zwei euro f\u00fcnfzig cent", "zwei f\u00fcnfzig"],
        ),
        ("de", "M\u00fcller & Sohn", ["m\u00fcller und sohn"]),
        ("fr", "21", ["vingt et un", "vingt et une", "deux un"]),
        ("fr", "71 %", ["soixante et onze pour cent"]),
        ("fr", "1\u202f234,5", ["mille deux cent trente quatre virgule cinq"]),
        ("fr", "le 1er", ["le premier", "le premi\u00e8re"]),
        ("fr", "21h", ["vingt et une heures"]),
        ("fr", "1h30", ["une heure trente"]),
        (
            "fr",
            "06.12.20.30.40",
            ["z\u00e9ro six un deux deux z\u00e9ro trois z\u00e9ro quatre z\u00e9ro", "z\u00e9ro six douze vingt trente quarante"],
        ),
        ("es", "21 libras", [f"{form} libras" for form in ("veintiuno", "veinti\u00fan", "veintiuna", "dos uno")]),
        ("es", "1\u00ba", ["primero", "primera", "primer"]),
        ("es", "la 1:20", ["la una veinte", "la una y veinte"]),
    ],
)
def test_other_languages_are_read_by_their_own_rules(language: str, text: str, expected: list[str]) -> None:
    assert said(text, language) == expected


@pytest.mark.parametrize(
    "token",
    [
        "4x4b7",
        "5kg",
        "5-6",
        "5\u20136",
        "24/7",
        "1/2",
        "\u00bd",
        "m\u00b2",
        "2024-05-05",
        "2019-2020",
        "1,23",
        "1.2.3",
        "90s",
        ".5",
        "#5",
        "@",
        "C++",
        "$",
    ],
)
def test_a_token_without_a_sure_reading_is_named(token: str) -> None:
    with pytest.raises(Unreadable, match="write it out as it was spoken") as refused:
        readings(f"take {token} now", "en")
    assert str(refused.value).startswith(f"token {token!r}: ")


@pytest.mark.parametrize(("token", "language"), [("3.5", "de"), ("5,000,000", "de"), ("5th", "fr"), ("11\u00ba", "es"), ("5pm", "es")])
def test_what_one_language_reads_another_may_not(token: str, language: str) -> None:
    with pytest.raises(Unreadable) as refused:
        readings(token, language)
    assert str(refused.value).startswith(f"token {token!r}: ")


def test_a_language_without_rules_is_named() -> None:
    with pytest.raises(Unreadable, match=r"^token '5': .* de, en, es, fr and not 'pl'"):
        readings("mam 5 lat", "pl")


def test_many_numbers_are_read_alike_before_they_are_mixed() -> None:
    found = said("0800 123 456 789 1234 5678")
    assert len(found) == len(set(found)) == MAX_READINGS
    assert found[0].startswith("zero eight zero zero one hundred and twenty three four hundred and fifty six")
    assert "oh eight oh oh one two three four five six seven eight nine one two three four five six seven eight" in found


def test_every_reading_can_be_spelled_in_letters() -> None:
    text = "On the 3rd at 5:30pm 12.5% of 1,200 R&D staff in room 007 paid \u00a35.20 in 1999."
    found = readings(text, "en")
    assert len(found) == MAX_READINGS
    assert all(unspeakable(reading, TOKENS.letters) == frozenset() for reading in found)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text("0159 ,.-:%$\u20ac&hasmp_\u00b2\u00bd'th\u0665", max_size=12), st.sampled_from(["en", "de", "fr", "es"]))
def test_any_text_is_read_in_letters_or_refused(text: str, language: str) -> None:
    with suppress(Unreadable):
        for reading in readings(text, language):
            assert unspeakable(reading, {char for char in normalise(reading) if char.isalpha() or char == "'"}) == frozenset()


def test_the_sound_chooses_the_reading() -> None:
    for spoken in ("in nineteen oh five", "in one thousand nine hundred and five", "in one nine zero five"):
        text = as_spoken("in 1905", "en", partial(frames, spoken), TOKENS)
        assert normalise(text) == spoken


@pytest.mark.parametrize(("text", "language", "expected"), [("In May", "en", "In May"), ("$5", "en", "five dollars"), ("$5", None, "$5")])
def test_a_clip_is_not_heard_where_there_is_nothing_to_choose(text: str, language: str | None, expected: str) -> None:
    def hear() -> LogProbs:
        raise AssertionError

    assert as_spoken(text, language, hear, TOKENS) == expected


def test_the_best_of_wrong_readings_is_chosen() -> None:
    assert choose_reading(frames("five"), ["one two three", "nine"], TOKENS) == "nine"


def test_readings_that_do_not_fit_are_left_out() -> None:
    assert choose_reading(frames("one"), ["one hundred and five", "na\u00efve", "two"], TOKENS) == "two"
    with pytest.raises(Unreadable, match="fits into 7 frames"):
        choose_reading(frames("one"), ["one hundred and five", "na\u00efve"], TOKENS)


def test_what_nobody_can_read_stays_as_it_is() -> None:
    written = [spoken_if_readable(text, "en", frames("five"), TOKENS) for text in ("take 4x4b7", "5")]
    assert written == ["take 4x4b7", "five"]
