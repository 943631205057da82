"""Numbers as reports say them."""

import pytest

from shared.rates import Interval
from shared.wording import interval_in_percent, interval_in_points, lasting, percent, points, range_in_points, relative_change


def test_intervals_and_changes_are_told_in_percent_and_points() -> None:
    assert interval_in_percent(Interval(0.146, 0.12, 0.172, 0.95, 40)) == "14.6% (12.0 to 17.2)"
    assert interval_in_points(Interval(-0.034, -0.047, -0.021, 0.9, 40)) == "-3.40 points (90% interval -4.70 to -2.10)"
    assert relative_change(Interval(-0.38, -0.479, -0.271, 0.95, 40)) == "fell by 38.0% (95% interval 27.1 to 47.9)"
    assert relative_change(Interval(0.02, -0.01, 0.05, 0.95, 40)) == "rose by 2.0% (95% interval -1.0 to 5.0)"


def test_a_number_that_is_not_known_is_a_dash() -> None:
    assert (percent(0.146), percent(None)) == ("14.6%", "-")
    assert (points(-0.034), points(0.0, 2), points(None)) == ("-3.4", "+0.00", "-")
    assert range_in_points(Interval(-0.034, -0.047, 0.021, 0.95, 40)) == "-4.7 to +2.1"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (90, "1.5 min"),
        (5 * 60, "5 min"),
        (12 * 60 + 20, "12 min"),
        (90 * 60, "1.5 h"),
        (149 * 60, "2.5 h"),
        (10 * 3600, "10 h"),
        (36 * 3600, "36 h"),
        (2 * 86_400, "2 days"),
        (60 * 3600, "2.5 days"),
        (9.97 * 86_400, "10 days"),
        (30 * 86_400, "30 days"),
    ],
)
def test_a_length_of_time_is_told_in_one_unit_and_never_further_off_than_a_twentieth(seconds: float, told: str) -> None:
    assert lasting(seconds) == told
    number, unit = told.split()
    assert float(number) * {"s": 1, "min": 60, "h": 3600, "days": 86_400}[unit] == pytest.approx(seconds, rel=0.05)
