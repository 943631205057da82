"""What asking may cost, across threads."""

import threading

import pytest

from shared.gold import GoldBudget
from trainer.gold.budget import BudgetLedger, price_usd
from trainer.gold.question import Usage

GIVEN_UP_S = 30.0


def test_a_price_is_tokens_and_minutes() -> None:
    prices = GoldBudget(usd_per_million_input_tokens=2.0, usd_per_million_output_tokens=8.0, usd_per_audio_minute=0.06)
    assert price_usd(Usage(500_000, 250_000, 90.0), prices) == pytest.approx(1.0 + 2.0 + 0.09)


def test_a_request_waits_for_one_under_way_that_may_leave_it_room() -> None:
    ledger, entered, granted = BudgetLedger(GoldBudget(max_tokens=100)), threading.Event(), list[bool]()

    class Watched(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            entered.set()
            return super().wait(timeout)

    ledger._changed = Watched()
    assert ledger.reserve(Usage(50, 30))
    waiting = threading.Thread(target=lambda: granted.append(ledger.reserve(Usage(40, 10))))
    waiting.start()
    assert entered.wait(GIVEN_UP_S)
    assert granted == []
    ledger.settle(Usage(50, 30), Usage(30, 20))
    waiting.join(GIVEN_UP_S)
    assert (granted, ledger.spent) == ([True], Usage(30, 20))


def test_a_request_that_can_never_fit_is_told_so_at_once() -> None:
    ledger = BudgetLedger(GoldBudget(max_tokens=100))
    assert ledger.reserve(Usage(60, 20))
    assert not ledger.reserve(Usage(101, 0))
    ledger.settle(Usage(60, 20), Usage(60, 20))
    assert not ledger.reserve(Usage(21, 0))
    assert ledger.reserve(Usage(20, 0))


def test_a_budget_of_money_may_be_used_to_the_last_cent() -> None:
    ledger = BudgetLedger(GoldBudget(max_usd=0.3, usd_per_million_input_tokens=1.0, usd_per_million_output_tokens=2.0))
    whole = Usage(100_000, 100_000)  # 0.1 + 0.2, which floating point makes a little more than 0.3
    assert ledger.reserve(whole)
    ledger.settle(whole, whole)
    assert not ledger.reserve(Usage(1))
