"""Numbers as a report says them."""

from shared.rates import Interval


def percent(rate: float) -> str:
    """Return a rate as `14.6%`."""
    return f"{100 * rate:.1f}%"


def points(difference: float) -> str:
    """Return a difference of two rates in percentage points, with its sign: `-3.40 points`."""
    return f"{100 * difference:+.2f} points"


def interval_in_points(interval: Interval) -> str:
    """Return a difference with its interval: `-3.40 points (90% interval -4.70 to -2.10)`."""
    return f"{points(interval.estimate)} ({100 * interval.level:.0f}% interval {100 * interval.low:+.2f} to {100 * interval.high:+.2f})"


def interval_in_percent(interval: Interval) -> str:
    """Return a rate with its interval: `14.6% (12.0 to 17.2)`."""
    return f"{percent(interval.estimate)} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def relative_change(interval: Interval) -> str:
    """Return a relative change in words: `fell by 38.0% (95% interval 27.1 to 47.9)`."""
    low, high, verb = interval.low, interval.high, "rose"
    if interval.estimate < 0.0:
        low, high, verb = -interval.high, -interval.low, "fell"
    return f"{verb} by {percent(abs(interval.estimate))} ({100 * interval.level:.0f}% interval {100 * low:.1f} to {100 * high:.1f})"
