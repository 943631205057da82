"""Coverage-guided fuzzing: `python -m tests.hostile.fuzz push --seconds 60` (`make fuzz`), with atheris from the extra `fuzz`.

What was found worth keeping stays in the corpus folder and is built upon by the next run; a finding ends the run, is written beside it
and belongs into `tests/hostile/findings/TARGET/` once it is mended: `test_fuzz_targets.py` goes through these without atheris.
"""

import argparse
import importlib
import logging
import sys
from pathlib import Path

TARGETS = ("push", "events", "audio", "gcs_wire")
MOST_BYTES = {"audio": 1 << 16}


def main() -> None:
    """Fuzz one target until the time is over or something is found."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--corpus", type=Path, default=Path("build/fuzz"), help="folder that keeps what was found, one below it for each target"
    )
    options = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=["functions", "shared", "infra", "trainer", "tests"]):
        target = importlib.import_module(f"tests.hostile.fuzz_{options.target}")
    corpus = options.corpus / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    logging.disable()
    limits = [
        f"-max_total_time={options.seconds}",
        f"-max_len={MOST_BYTES.get(options.target, 1 << 13)}",
        "-timeout=20",
        "-rss_limit_mb=3072",
    ]
    atheris.Setup(
        [sys.argv[0], *limits, f"-artifact_prefix={options.corpus / options.target}-", "-print_final_stats=1", str(corpus)], target.one
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
