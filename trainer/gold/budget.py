"""What asking may cost: the worst case is set aside before a request and settled after it, so that a limit is never passed."""

import threading

from shared.gold import GoldBudget
from trainer.gold.question import Usage

_ROUNDING = 1e-9
"""So much of a limit in money may be passed, for sums of floating-point prices do."""


def price_usd(usage: Usage, budget: GoldBudget) -> float:
    """Return what a usage costs under the budget's prices."""
    return (
        usage.input_tokens * budget.usd_per_million_input_tokens / 1e6
        + usage.output_tokens * budget.usd_per_million_output_tokens / 1e6
        + usage.audio_s * budget.usd_per_audio_minute / 60.0
    )


class BudgetLedger:
    """Counts what was used, across threads.

    reserve(ceiling) ---- request ---- settle(ceiling, used)
    spent + reserved <= limit holds before, meanwhile and after, as long as nothing uses more than its ceiling.
    """

    def __init__(self, budget: GoldBudget) -> None:
        self._budget = budget
        self._spent = Usage()
        self._reserved: list[Usage] = []
        self._changed = threading.Condition()

    @property
    def spent(self) -> Usage:
        """What was used so far; lost answers that may have been billed count with their ceiling."""
        with self._changed:
            return self._spent

    def reserve(self, ceiling: Usage) -> bool:
        """Set the worst case of a request aside; False where it cannot fit any more.

        Waits while it would fit but for requests under way, which may turn out to use less than their worst case.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._fits(self._at_worst() + ceiling) or not self._fits(self._spent + ceiling))
            fits = self._fits(self._at_worst() + ceiling)
            if fits:
                self._reserved.append(ceiling)
            return fits

    def settle(self, ceiling: Usage, used: Usage) -> None:
        """Give a reservation back and count what was really used."""
        with self._changed:
            self._reserved.remove(ceiling)
            self._spent += used
            self._changed.notify_all()

    def _at_worst(self) -> Usage:
        return sum(self._reserved, start=self._spent)

    def _fits(self, usage: Usage) -> bool:
        tokens, usd = self._budget.max_tokens, self._budget.max_usd
        in_tokens = tokens is None or usage.tokens <= tokens
        return in_tokens and (usd is None or price_usd(usage, self._budget) <= usd * (1 + _ROUNDING))
