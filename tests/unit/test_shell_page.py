"""A page of shell blocks is read as what it is for a reader, and what it prints is compared but for its numbers."""

import pytest

from tests.shell_page import Step, as_printed, one_line, read_steps

PAGE = """Type this:

```sh
retune up
```

```log
ready
```

The console
says "v0 is stable".

```sh
true
```

```text
```

```python
ignored
```

    indented, ignored
"""


def test_steps_come_in_the_order_of_the_page() -> None:
    assert read_steps(PAGE) == [
        Step("sh", "retune up\n", 3),
        Step("log", "ready\n", 7),
        Step("console", "v0 is stable", 11),
        Step("sh", "true\n", 14),
        Step("text", "", 18),
    ]


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("WER changes by -7.88 points (90% interval -13.48 to -2.27)", "WER changes by +3 points (95% interval -1.5\n  to 1,000.2)"),
        ("at 04:26:37 on 2026-11-27", "at 23:59:00 on 2027-01-01"),
        (" a   b\n c", "a b c\n\n"),
        ("first\n...\nlast", "first and more\nof it\nlast"),
        ("event ...)", "event aa06)"),
        ("v1 of cycle 1", "v1 of cycle 1"),
    ],
)
def test_other_numbers_and_other_line_breaks_are_the_same_text(expected: str, printed: str) -> None:
    assert as_printed(expected).fullmatch(one_line(printed))


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("12 fixed", "12 broken"),
        ("12 fixed", "twelve fixed"),
        ("12 fixed", "12 fixed, and more"),
        ("v1 is stable", "v2 is stable"),
        ("cycle 1 is accepted", "cycle 2 is accepted"),
        ("heard monday/00003.wav", "heard monday/00004.wav"),
        ("a.b", "axb"),
        ("", "something"),
    ],
)
def test_other_words_and_other_names_are_another_text(expected: str, printed: str) -> None:
    assert not as_printed(expected).fullmatch(one_line(printed))
