"""The whole loop on this machine, with real speech, real training and the statistics of production.

Nothing in it is scripted: what is printed was measured in this run, and a run that does not improve says so.
"""

from pathlib import Path


def run(out: Path, seed: int = 0, *, bad_model: bool = False) -> int:
    """Run the demo into `out`; return 0 if the service improved itself, else 1."""
    from rich.console import Console

    from infra.local.demo.plan import DemoPlan
    from infra.local.demo.story import run as tell

    return tell(out, DemoPlan(seed=seed), Console(), bad_model=bad_model)
