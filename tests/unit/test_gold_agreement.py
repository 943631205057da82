"""How far the samples of one clip say the same."""

import pytest

from trainer.gold.agreement import agree


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (["one"], ("one", 1.0)),
        (["Call me back.", "call me back", "call me bag"], ("Call me back.", 2 / 3)),
        (["call me back", "Call me back!", "Call me back!"], ("Call me back!", 1.0)),
        (["a", "b"], ("a", 0.5)),
        (["b", "a", "a", "B!", "b"], ("b", 0.6)),
        (["", "...", "yes"], ("", 2 / 3)),
    ],
)
def test_what_most_samples_say_counts_however_they_write_it(samples: list[str], expected: tuple[str, float]) -> None:
    text, share = agree(samples)
    assert text == expected[0]
    assert share == pytest.approx(expected[1])


def test_no_sample_agrees_with_nothing() -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        agree([])
