"""Which modules are mutated, and which tests must kill their mutants: fast ones, that a reader of the module would look for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

TABLE: Mapping[str, Sequence[str]] = {
    "shared/policy.py": ("tests/unit/test_policy.py", "tests/unit/test_budget.py"),
    "shared/wer_stats.py": ("tests/unit/test_wer_stats.py", "-k not test_a_model_that_"),  # those simulate whole verdicts, for seconds
    "shared/cas.py": ("tests/unit/test_cas.py",),
    "shared/ledger.py": ("tests/unit/test_ledger*.py",),
    "shared/head.py": ("tests/unit/test_ledger*.py",),
    "shared/totals.py": ("tests/unit/test_ledger*.py",),
    "shared/compaction.py": ("tests/unit/test_ledger*.py",),
    "shared/cycle.py": ("tests/unit/test_cycle.py",),
    "shared/registry.py": ("tests/unit/test_registry.py",),
    "functions/launcher/capacity.py": ("tests/unit/test_launcher_decide.py",),
    "functions/collector/checks.py": ("tests/unit/test_collector*.py",),
    "functions/deployer/checks.py": ("tests/unit/test_deployer_checks.py",),
    "functions/launcher/decide.py": ("tests/unit/test_launcher_decide.py",),
    "functions/notifier/notices.py": ("tests/unit/test_notifier.py",),
    "functions/sweeper/decide.py": ("tests/unit/test_sweeper_decide.py",),
    "functions/sweeper/verdict.py": ("tests/unit/test_sweeper_watch.py",),
    "shared/watch.py": ("tests/unit/test_sweeper_watch.py",),
    "functions/validator/decide.py": ("tests/unit/test_validator_decide.py",),
}
"""Patterns of modules -> patterns of test files, and arguments of pytest."""


def rows(root: Path, table: Mapping[str, Sequence[str]], wanted: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return the modules of a table that match what is wanted (nothing = all), each with its tests and arguments.

    Raises:
        ValueError: a pattern matches no file.
    """
    found: dict[str, tuple[str, ...]] = {}
    for pattern, tests in table.items():
        for module in _files(root, pattern):
            found[module] = tuple(
                dict.fromkeys(file for test in tests for file in ([test] if test.startswith("-") else _files(root, test)))
            )
    if not wanted:
        return found
    chosen = {module for want in wanted for module in _matching(found, want)}
    return {module: tests for module, tests in found.items() if module in chosen}


def _files(root: Path, pattern: str) -> list[str]:
    files = sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
    if not files:
        raise ValueError(f"{pattern}: expected a file, found none")
    return files


def _matching(modules: Mapping[str, object], pattern: str) -> list[str]:
    chosen = [module for module in modules if Path(module).match(pattern)]
    if not chosen:
        raise ValueError(f"{pattern}: expected some of {', '.join(modules)}, found none of them")
    return chosen
