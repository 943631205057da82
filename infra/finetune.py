"""`retune finetune` and `retune llm-check`: the trainer's own commands, with what only this side knows.

Both run without a stack and without a cloud.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from infra.errors import OK, REFUSED, USAGE

DEMO_MARK = "made-by-retune.json"
"""`python -m infra.local.speech` leaves it in its folder: such speech is what the shipped model was made for."""


def run(arguments: Sequence[str]) -> int:
    """Fine-tune as the flags say; speech that we made ourselves is given the shipped model where no other is named."""
    from trainer.finetune.__main__ import main

    return main([*arguments, *model_for_demo(arguments)])


def model_for_demo(arguments: Sequence[str]) -> list[str]:
    """Return the flag that names the shipped model, if the audio is ours and no model is named; else nothing."""
    named = {word.partition("=")[0].replace("_", "-"): word.partition("=")[2] for word in arguments if word.startswith("--")}
    words = [word.replace("_", "-") for word in arguments]
    if "--model" in named or "--audio-dir" not in named:
        return []
    folder = named["--audio-dir"] or next(iter(arguments[words.index("--audio-dir") + 1 :]), "")
    if not folder or not (Path(folder).expanduser() / DEMO_MARK).is_file():
        return []
    from infra.local.baseline import MODEL_DIR

    typer.echo(f"{folder} is speech that we made and no --model is named: taking the small model that ships, {MODEL_DIR}", err=True)
    return ["--model", str(MODEL_DIR)]


def check_llm(arguments: Sequence[str]) -> int:
    """Try the endpoint that the flags and the environment name; 0 it works, 1 it does not and the text says why, 2 wrong usage."""
    from trainer.finetune.options import UsageError, parse_llm
    from trainer.gold.check import check_endpoint

    try:
        config = parse_llm(arguments, os.environ)
    except UsageError as error:
        typer.echo(str(error), err=True)
        return USAGE
    report = check_endpoint(config, os.environ)
    typer.echo("\n".join(report.lines()))
    return OK if report.ok else REFUSED
