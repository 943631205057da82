"""Lines, tables and the document of a run. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tests.benchmarks.collector.figures import SERVED, Cell, Figures, Target, median_of, ratio_of

UNITS = {
    "events_per_s": "1/s",
    "p50_ms": "ms",
    "p99_ms": "ms",
    "writes_per_1000": "writes",
    "reads_per_1000": "reads",
    "lists_per_1000": "lists",
    "cpu_s_per_1000": "s",
    "memory_mib": "MiB",
}
Rounds = Mapping[Cell, Sequence[Figures]]
HEAD = (
    "| | THREADS | store, ms | concurrent | events/s | of (a) | p50, ms | p99, ms | writes | reads | lists | CPU s | generator | MiB |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
)


def lines_of(prefix: str, figures: Figures) -> list[str]:
    """Return one `name: value unit` line for each figure that has a unit."""
    return [f"{prefix}.{name}: {getattr(figures, name):.4g} {unit}" for name, unit in UNITS.items()]


def prefix_of(cell: Cell) -> str:
    """Return what a cell's lines begin with."""
    return f"collector.{cell.variant}.{cell.latency_ms}ms.{cell.concurrent}"


def table_of(rounds: Rounds, threads: int) -> list[str]:
    """Return the table in Markdown: calls and processor seconds are for 1,000 events."""
    lines = list(HEAD)
    for cell in sorted(rounds, key=lambda cell: (cell.latency_ms, cell.concurrent, cell.variant)):
        figures = median_of(rounds[cell])
        share = ratio_of(rounds, cell, Cell("a_nothing", cell.latency_ms, cell.concurrent))
        served = str(threads) if SERVED[cell.variant] == "threads" else f"{threads} (no say)"
        numbers = (
            f"{figures.events_per_s:,.0f}",
            f"{share:.0%}" if share is not None else "",
            f"{figures.p50_ms:.0f}",
            f"{figures.p99_ms:.0f}",
            f"{figures.writes_per_1000:.1f}",
            f"{figures.reads_per_1000:.1f}",
            f"{figures.lists_per_1000:.2f}",
            f"{figures.cpu_s_per_1000:.2f}",
            f"{figures.generator_cpu:.2f}",
            f"{figures.memory_mib:.0f}",
        )
        lines.append(f"| {cell.variant} | {served} | {cell.latency_ms} | {cell.concurrent} | " + " | ".join(numbers) + " |")
    return lines


def targets_table(targets: Sequence[Target]) -> list[str]:
    """Return the targets in Markdown."""
    lines = ["| target | wanted | found | |", "|---|---|---|---|"]
    for target in targets:
        sign = ">=" if target.at_least else "<="
        verdict = "met" if target.met else "missed"
        lines.append(f"| {target.name} | {sign} {target.bound:g} {target.unit} | {target.found:.3g} {target.unit} | {verdict} |")
    return lines


def as_document(rounds: Rounds, others: Mapping[str, Any], settings: Mapping[str, Any], targets: Sequence[Target]) -> dict[str, Any]:
    """Return what is stored as JSON."""
    cells = [
        {**asdict(cell), "median": asdict(median_of(found)), "rounds": [asdict(figures) for figures in found]}
        for cell, found in sorted(rounds.items())
    ]
    met = [{**asdict(target), "met": target.met} for target in targets]
    return {"settings": dict(settings), "cells": cells, "targets": met, **others}
