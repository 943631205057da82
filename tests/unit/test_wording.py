"""Numbers as reports say them."""

from shared.rates import Interval
from shared.wording import interval_in_percent, interval_in_points, percent, points, range_in_points, relative_change


def test_numbers_are_worded() -> None:
    assert interval_in_percent(Interval(0.146, 0.12, 0.172, 0.95, 40)) == "14.6% (12.0 to 17.2)"
    assert interval_in_points(Interval(-0.034, -0.047, -0.021, 0.9, 40)) == "-3.40 points (90% interval -4.70 to -2.10)"
    assert relative_change(Interval(-0.38, -0.479, -0.271, 0.95, 40)) == "fell by 38.0% (95% interval 27.1 to 47.9)"
    assert relative_change(Interval(0.02, -0.01, 0.05, 0.95, 40)) == "rose by 2.0% (95% interval -1.0 to 5.0)"


def test_a_number_that_is_not_known_is_a_dash() -> None:
    assert (percent(0.146), percent(None)) == ("14.6%", "-")
    assert (points(-0.034), points(0.0, 2), points(None)) == ("-3.4", "+0.00", "-")
    assert range_in_points(Interval(-0.034, -0.047, 0.021, 0.95, 40)) == "-4.7 to +2.1"
