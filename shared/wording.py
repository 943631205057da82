"""Numbers and tables as reports say them, on pages, on terminals and in sentences."""

from shared.rates import Interval

PIPE_COLUMNS = 160
"""How wide tables are in a pipe, which has no width of its own."""
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def percent(rate: float | None) -> str:
    """Return a rate as `14.6%`, one that is unknown as `-`."""
    return "-" if rate is None else f"{100 * rate:.1f}%"


def points(difference: float | None, digits: int = 1) -> str:
    """Return a difference of two rates in percentage points, with its sign: `-3.4`; one that is unknown as `-`."""
    return "-" if difference is None else f"{100 * difference:+.{digits}f}"


def range_in_points(interval: Interval, digits: int = 1) -> str:
    """Return the ends of a difference's interval: `-4.7 to -2.1`."""
    return f"{points(interval.low, digits)} to {points(interval.high, digits)}"


def interval_in_points(interval: Interval) -> str:
    """Return a difference with its interval: `-3.40 points (90% interval -4.70 to -2.10)`."""
    return f"{points(interval.estimate, 2)} points ({100 * interval.level:.0f}% interval {range_in_points(interval, 2)})"


def interval_in_percent(interval: Interval) -> str:
    """Return a rate with its interval: `14.6% (12.0 to 17.2)`."""
    return f"{percent(interval.estimate)} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def relative_change(interval: Interval) -> str:
    """Return a relative change in words: `fell by 38.0% (95% interval 27.1 to 47.9)`."""
    low, high, verb = interval.low, interval.high, "rose"
    if interval.estimate < 0.0:
        low, high, verb = -interval.high, -interval.low, "fell"
    return f"{verb} by {percent(abs(interval.estimate))} ({100 * interval.level:.0f}% interval {100 * low:.1f} to {100 * high:.1f})"


def lasting(seconds: float) -> str:
    """Return a length of time in words, in one unit, to a tenth of it below ten: `12 s`, `3 min`, `1.5 h`, `36 h`, `2 days`."""
    for unit_s, name, least in ((DAY_S, "days", 2), (HOUR_S, "h", 1), (MINUTE_S, "min", 1)):
        units = seconds / unit_s
        if units >= least:
            return f"{units:.{0 if units >= 10 else 1}f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.0f} s"


def money(usd: float | None) -> str:
    """Return an amount: `3.20 USD`; one that is unknown as `no price is set`."""
    return "no price is set" if usd is None else f"{usd:.2f} USD"
