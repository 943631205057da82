"""What collecting errors costs a month on Google Cloud, beside designs that work event by event.

    python -m tests.benchmarks.cost             prints the page from what was measured last
    python -m tests.benchmarks.cost --write     the same into docs/benchmarks/cost.md
    python -m tests.benchmarks.cost --measure   measures first (about four minutes) and writes docs/benchmarks/cost.json and the page

Operations, times and bytes are measured; prices and what nobody can measure here are the constants below, each with its source or reason.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.bundle import ROOT
from shared.documents import Frozen
from shared.messages import outgoing
from tests.benchmarks._minute import CALL_S, Minute, Ops, driven, error

RATES = (1, 100, 10_000)
"""Errors a minute."""
MEASURED = ROOT / "docs" / "benchmarks" / "cost.json"
PAGE = ROOT / "docs" / "benchmarks" / "cost.md"
MINUTES = 30 * 24 * 60
DAYS = 30
GIB = 2.0**30
COUNTER_WRITES_PER_MINUTE = 60
"""One object takes about one write a second. Source: cloud.google.com/storage/quotas."""


@dataclass(frozen=True)
class Price:
    """One line of a price list.

    Attributes:
        usd: for `per` units.
        free: units a month that are not billed.
    """

    what: str
    usd: float
    per: float
    unit: str
    free: float
    source: str


PRICES = {
    "class_a": Price("Cloud Storage, class A (write, list)", 0.005, 1_000, "operations", 5_000, "cloud.google.com/storage/pricing"),
    "class_b": Price("Cloud Storage, class B (read)", 0.0004, 1_000, "operations", 50_000, "cloud.google.com/storage/pricing"),
    "stored": Price("Cloud Storage, Standard, stored", 0.020, 1, "GiB-months", 5, "cloud.google.com/storage/pricing"),
    "requests": Price("Cloud Run, requests", 0.40, 1_000_000, "requests", 2_000_000, "cloud.google.com/run/pricing"),
    "vcpu": Price("Cloud Run, CPU while requests are under way", 0.000024, 1, "vCPU-seconds", 180_000, "cloud.google.com/run/pricing"),
    "memory": Price("Cloud Run, memory while requests are under way", 0.0000025, 1, "GiB-seconds", 360_000, "cloud.google.com/run/pricing"),
    "pubsub": Price("Pub/Sub, published and pushed", 40.0, 1024, "GiB", 10, "cloud.google.com/pubsub/pricing"),
    "retained": Price("Pub/Sub, retained by the topic", 0.27, 1, "GiB-months", 0, "cloud.google.com/pubsub/pricing"),
    "logs": Price("Cloud Logging, ingested", 0.50, 1, "GiB", 50, "cloud.google.com/stackdriver/pricing"),
    "document_writes": Price("Firestore, document writes", 0.09, 100_000, "writes", 600_000, "cloud.google.com/firestore/pricing"),
    "document_reads": Price("Firestore, document reads", 0.03, 100_000, "reads", 1_500_000, "cloud.google.com/firestore/pricing"),
    "document_deletes": Price("Firestore, document deletes", 0.01, 100_000, "deletes", 600_000, "cloud.google.com/firestore/pricing"),
}
"""List prices in USD for us-central1 without discounts, as the named pages had them in copies looked up on 2026-11-26."""

BILLED_MESSAGE_BYTES = 1000
"""The least that Pub/Sub bills for a request. Source: cloud.google.com/pubsub/pricing."""
MESSAGE_EXTRA_BYTES = 20 + 16
"""Its time and id, which are billed as part of a message. Source: the same page."""
REQUEST_LOG_BYTES = 800
"""Cloud Run logs each request. An assumption: the entry, with its httpRequest, resource and labels."""
LOG_ENVELOPE_BYTES = 400
"""An assumption: what Cloud Logging adds to each of our own lines (resource, labels, times)."""
TOPIC_DAYS = 31
"""infra/modules/topic keeps what was published so long."""
SOFT_DELETE_DAYS = 7
"""infra/modules/store keeps what was deleted so long."""
LEDGER_DAYS = 1
"""An assumption: a cycle opens, and its ledger goes, once a day."""
COLLECTOR_GIB, SWEEPER_GIB = 0.5, 1.0
"""infra/wiring.tf; both have one vCPU, the collector takes 80 requests at a time, two sweepers run at most."""
SWEEPERS = 2


class Figures(Frozen):
    """What was measured, by rate; as it lies in cost.json."""

    machine: str
    at: datetime
    minutes: dict[int, Minute]


class Bill(Frozen):
    """What one design takes a month, in the units of `PRICES`, and whether it can work at that rate."""

    used: dict[str, float]
    hurdle: str = ""

    def usd(self, name: str) -> float:
        """Return what one line costs before anything is free."""
        return self.used.get(name, 0.0) * PRICES[name].usd / PRICES[name].per

    @property
    def total_usd(self) -> float:
        """What all lines cost before anything is free."""
        return sum(self.usd(name) for name in self.used)

    @property
    def after_free_usd(self) -> float:
        """What all lines cost after what is free each month, if nothing else in the account uses it up."""
        return sum(max(0.0, used - PRICES[name].free) * PRICES[name].usd / PRICES[name].per for name, used in self.used.items())


def message_bytes() -> int:
    """Return how large the message of an error is, as Pub/Sub counts it."""
    sent = outgoing(error("1"))
    return len(sent.data) + sum(len(name) + len(value) for name, value in sent.attributes.items()) + MESSAGE_EXTRA_BYTES


def common(rate: int, log_bytes: float, size: int) -> dict[str, float]:
    """Return what every design takes that has each error pushed to a function."""
    errors = rate * MINUTES
    retained_days = min(TOPIC_DAYS, DAYS)  # of a month's errors: the bill of a month in which as much came before
    return {
        "requests": errors,
        "pubsub": errors * 2 * max(size, BILLED_MESSAGE_BYTES) / GIB,
        "retained": errors * size * retained_days / DAYS / GIB,
        "logs": errors * (log_bytes + LOG_ENVELOPE_BYTES + REQUEST_LOG_BYTES) / GIB,
    }


def ours(rate: int, minute: Minute, size: int) -> Bill:
    """Group commit, compaction and a tick each minute; each ledger's parts are read once for its dataset."""
    share = rate / minute.errors  # of what was measured in a minute; of one error where each is alone
    folding = min(1.0, rate / 2)  # of the ticks: one segment is left until there is a second
    sweeping = minute.sweeping.times(folding) + minute.idle_sweeping.times(1 - folding)
    sweep_s = minute.sweep_s * folding + minute.idle_sweep_s * (1 - folding)
    ops = minute.collecting.times(share) + sweeping + Ops(b=2 * folding)
    busy_s, stored = minute.busy_s * share, minute.stored_bytes * share * MINUTES / GIB
    bill = common(rate, minute.log_bytes / minute.errors, size)
    bill["requests"] += MINUTES
    bill["pubsub"] += MINUTES * 2 * BILLED_MESSAGE_BYTES / GIB
    bill |= {
        "class_a": ops.a * MINUTES,
        "class_b": ops.b * MINUTES,
        "stored": stored * (SOFT_DELETE_DAYS + (LEDGER_DAYS + SOFT_DELETE_DAYS) + DAYS) / DAYS,
        "vcpu": (busy_s + sweep_s) * MINUTES,
        "memory": (busy_s * COLLECTOR_GIB + sweep_s * SWEEPER_GIB) * MINUTES,
    }
    late = f"a tick takes {sweep_s:.0f} s: more than {SWEEPERS} sweepers do in a minute, so that compaction falls behind"
    return Bill(used=bill, hurdle=late if sweep_s > 60 * SWEEPERS else "")


def object_per_event(rate: int, minute: Minute, size: int) -> Bill:
    """One object and one counter, read and written by compare-and-swap, for each error; conflicts are left out, in its favour."""
    errors = rate * MINUTES
    seconds = _busy(rate, 3 * CALL_S) * MINUTES
    bill = common(rate, minute.log_bytes / minute.errors, size) | {
        "class_a": errors * (2 + 1 / 1000),  # the object, the counter, its share of a list
        "class_b": errors * (1 + 1),  # the counter, and the object for the dataset
        "stored": errors * minute.stored_bytes / minute.errors * (LEDGER_DAYS + SOFT_DELETE_DAYS + DAYS) / DAYS / GIB,
        "vcpu": seconds,
        "memory": seconds * COLLECTOR_GIB,
    }
    hurdle = (
        f"{rate} writes a minute to the counter, at most {COUNTER_WRITES_PER_MINUTE} can be" if rate > COUNTER_WRITES_PER_MINUTE else ""
    )
    return Bill(used=bill, hurdle=hurdle)


def document_per_event(rate: int, minute: Minute, size: int) -> Bill:
    """One Firestore document and one increment of a sharded counter for each error, in one commit; read and deleted once."""
    errors = rate * MINUTES
    seconds = _busy(rate, CALL_S) * MINUTES
    bill = common(rate, minute.log_bytes / minute.errors, size) | {
        "document_writes": errors * 2,
        "document_reads": errors,
        "document_deletes": errors,
        "vcpu": seconds,
        "memory": seconds * COLLECTOR_GIB,
    }
    return Bill(used=bill)


def _busy(rate: int, request_s: float) -> float:
    """Return the seconds of a minute in which at least one of such requests is under way.

    Poisson arrivals and any number at a time (M/G/infinity): 1 - exp(-rate x duration). Where they hardly overlap each is rounded up to
    100 ms.
    """
    rounded = math.ceil(request_s / 0.1 - 1e-9) * 0.1
    return 60 * (1 - math.exp(-rate / 60 * rounded))


DESIGNS: dict[str, Callable[[int, Minute, int], Bill]] = {
    "ours": ours,
    "an object and a counter for each error": object_per_event,
    "a Firestore document for each error": document_per_event,
}


def money(usd: float) -> str:
    """Return dollars as people write them."""
    return f"${usd:,.2f}" if usd < 100 else f"${usd:,.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(figures: Figures) -> str:
    """Return the page."""
    size = message_bytes()
    bills = {name: {rate: design(rate, figures.minutes[rate], size) for rate in RATES} for name, design in DESIGNS.items()}
    return _TEXT.format(
        size=size,
        machine=figures.machine,
        at=figures.at.date().isoformat(),
        totals=_totals(bills),
        hurdles=_hurdles(bills),
        lines=_lines(bills["ours"]),
        counted=_counted(figures.minutes),
        prices=_prices(),
        call_ms=f"{CALL_S * 1000:g}",
        request_log=REQUEST_LOG_BYTES,
        log_envelope=LOG_ENVELOPE_BYTES,
        topic_days=TOPIC_DAYS,
        soft_days=SOFT_DELETE_DAYS,
        billed=BILLED_MESSAGE_BYTES,
    )


def _totals(bills: Mapping[str, Mapping[int, Bill]]) -> str:
    rows = [
        [name, *(f"{money(bill.total_usd)} ({money(bill.after_free_usd)}){' *' if bill.hurdle else ''}" for bill in by_rate.values())]
        for name, by_rate in bills.items()
    ]
    return table(["USD a month (after what is free)", *(f"{rate:,} a minute" for rate in RATES)], rows)


def _hurdles(bills: Mapping[str, Mapping[int, Bill]]) -> str:
    found = [
        f"- \\* {name}, {rate:,} a minute: {bill.hurdle}."
        for name, by_rate in bills.items()
        for rate, bill in by_rate.items()
        if bill.hurdle
    ]
    return "\n".join(found)


def _lines(by_rate: Mapping[int, Bill]) -> str:
    names = [name for name in PRICES if any(name in bill.used for bill in by_rate.values())]
    rows = [[PRICES[name].what, *(f"{money(bill.usd(name))} ({_short(bill.used[name])})" for bill in by_rate.values())] for name in names]
    return table(["ours, line by line: USD (units)", *(f"{rate:,} a minute" for rate in by_rate)], rows)


def _counted(minutes: Mapping[int, Minute]) -> str:
    def row(what: str, value: Callable[[Minute], str]) -> list[str]:
        return [what, *(value(minutes[rate]) for rate in RATES)]

    return table(
        ["", *(f"{rate:,} a minute" for rate in RATES)],
        [
            row("errors measured", lambda one: f"{one.errors:,}"),
            row("errors in a segment", lambda one: f"{one.errors / one.segments:.1f}"),
            row("class A for 1,000 errors, collector", lambda one: f"{one.collecting.a / one.errors * 1000:,.0f}"),
            row("class B for 1,000 errors, collector", lambda one: f"{one.collecting.b / one.errors * 1000:,.0f}"),
            row("a request, p50 and p99", lambda one: f"{one.p50_s * 1000:.0f} and {one.p99_s * 1000:.0f} ms"),
            row("requests at a time, at most", lambda one: f"{one.most_in_flight}"),
            row("and on average, about", lambda one: f"{_at_once(one):.1f}"),
            row("processor time for 1,000 errors", lambda one: f"{one.cpu_s / one.errors * 1000:.1f} s"),
            row("a tick that folds: class A, B, not billed", lambda one: _ops(one.sweeping)),
            row("and how long it takes", lambda one: f"{one.sweep_s:.1f} s"),
            row("our log, an error", lambda one: f"{one.log_bytes / one.errors:.0f} bytes"),
            row("stored, an error", lambda one: f"{one.stored_bytes / one.errors:.0f} bytes"),
        ],
    )


def _at_once(minute: Minute) -> float:
    """Return how many requests are under way on average while any is (Little's law, with the median for the mean)."""
    return minute.errors * minute.p50_s / minute.busy_s


def _ops(ops: Ops) -> str:
    return f"{ops.a:,.0f}, {ops.b:,.0f}, {ops.free:,.0f}"


def _short(units: float) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if units >= factor:
            return f"{units / factor:.3g} {letter}"
    return f"{units:.3g}"


def _prices() -> str:
    rows = [
        [one.what, f"{one.usd:.7f}".rstrip("0").rstrip("."), f"{one.per:,.0f} {one.unit}", f"{one.free:,.0f}", one.source]
        for one in PRICES.values()
    ]
    return table(["what", "USD", "for", "free a month", "source"], rows)


_TEXT = """# What collecting errors costs

Written by `python -m tests.benchmarks.cost --write` from [cost.json](cost.json), which `--measure` measures anew; a test holds the two
together. **Training is apart**: a GPU's hours are [the deployment guide's](../guides/deploy.md#what-it-costs) and `retune simulate`'s, and
are the larger bill of most. So are the models' storage, the network of the trainers, and audio, which lies in buckets of the calls.

{totals}

{hurdles}

Per-event designs are computed, not measured, and in their favour: no conflict of the counter is counted, no request is retried, the
counter tells at no cost when a threshold is crossed, and no tick looks after anything. What their calls of the store take is the
same {call_ms} ms, and one commit of Firestore as long. All three have each error pushed to a function, and share what that costs.

## Where ours goes

{lines}

## What was measured

On the local stack ({machine}, {at}): collector and sweeper under functions-framework, Google's clients, {call_ms} ms a call of Cloud
Storage, one finished cycle in the bucket, a linger of 20 ms. A minute of Poisson arrivals at 100 and 10,000 errors a minute, and at 1 a minute ten errors
one by one, each of which also has the collector count, as it does when 10 s have passed. The busy time is that of one instance: at least
one request under way, each stretch rounded up to 100 ms. Then the tick that folds the minute, at 4 ms a call and with the difference
added for each of its calls, which come one after another.

{counted}

## Prices

List prices in USD, us-central1, no discounts, from copies of the named pages looked up on 2026-11-26. Prices differ by region and change: the
constants are at the top of `tests/benchmarks/cost.py`.

{prices}

Source of "not billed": the first page says that operations which return 4xx are generally not charged, and that deleting is free.

## Assumptions

- 30 days; errors alone, none corrected later, no samples or traffic reports, which cost the same each. No redelivery, no quarantine.
- An error's message has {size} bytes as Pub/Sub counts it; less than {billed} bytes a request are billed as {billed}, and every message is taken
  for a publish request of its own, though clients put several into one.
- The topic keeps {topic_days} days of messages (`infra/modules/topic`), counted at their own size and billed as in a month that follows one like it.
- The policy's thresholds are not reached. A crossing adds one message, and a declined one is looked at again every five minutes.
- One instance of the collector is enough: it takes 80 requests at a time, and its processor time is a fraction of the minute. More than 80 at
  once came when the machine that measured was busy with other work; a second instance would be billed while it works.
- A cycle opens once a day and its ledger goes; what is deleted is kept {soft_days} days more (`infra/modules/store`); the rows of a dataset stay a
  month. Versions that the compaction index leaves behind are not counted.
- Each request is logged by Cloud Run with {request_log} bytes, and each of our own lines gets {log_envelope} bytes more from Cloud Logging. Neither was
  measured. An exclusion filter on the log of requests takes the first away.
- Not counted, as below a dollar: Cloud Scheduler, images, the secret, monitoring. Traffic within a region is free.
"""


def measure() -> Figures:
    """Measure a minute at each rate."""
    minutes = {}
    for rate in RATES:
        alone = rate < 60
        with TemporaryDirectory(prefix="retune-cost-") as folder, driven(Path(folder), count_interval_s=0 if alone else 10) as drive:
            minutes[rate] = drive.alone() if alone else drive.minute(rate)
    return Figures(machine=machine(), at=datetime.now(UTC), minutes=minutes)


def machine() -> str:
    """Return which processor this is."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} cores of {models[0]}"


def read_figures() -> Figures:
    """Read what was measured last."""
    return Figures.model_validate_json(MEASURED.read_text(encoding="utf-8"))


def main() -> None:
    """Print the page, write it, or measure first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the page")
    parser.add_argument("--measure", action="store_true", help="measure anew, and write figures and page")
    options = parser.parse_args()
    if options.measure:
        figures = measure()
        MEASURED.write_text(json.dumps(figures.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    text = page(read_figures())
    if options.write or options.measure:
        PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
