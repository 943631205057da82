"""Several tests, one claim: which of them may be named without the chance of a false one exceeding alpha."""

from collections.abc import Mapping


def holm(p_values: Mapping[str, float], alpha: float) -> tuple[str, ...]:
    """Return the names of the hypotheses that Holm's step-down procedure rejects, the smallest p-value first (ties in the given order).

    p_(1) <= ... <= p_(K): reject in this order while p_(k) <= alpha / (K - k + 1), stop at the first that is not. The chance that
    any true hypothesis is among the rejected is at most alpha, whatever the dependence of the tests. For claims of the form "some are":
    which slices got better, whether any got worse. "Every suite is non-inferior" is an intersection-union claim and needs no correction.

    Source: S. Holm, Scand. J. Statist. 6 (1979) 65-70.
    """
    ranked = sorted(p_values, key=lambda name: p_values[name])
    for rank, name in enumerate(ranked):
        if p_values[name] > alpha / (len(ranked) - rank):
            return tuple(ranked[:rank])
    return tuple(ranked)
