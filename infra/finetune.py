"""`retune finetune` and `retune llm-check`: the trainer's own commands, with what only this side knows.

Both run without a stack and without a cloud.
"""

import os
from collections.abc import Sequence

from infra.errors import OK, REFUSED, USAGE
from infra.local.baseline import DEMO_MARK, MODEL_DIR
from shared.terminal import say
from trainer.finetune.options import Options, UsageError, parse_llm, parse_options


def run(arguments: Sequence[str]) -> int:
    """Fine-tune as the flags say; speech that we made ourselves is given the shipped model where no other is named."""
    from trainer.finetune.__main__ import carry_out

    try:
        options = parse_options(arguments, os.environ)
    except UsageError as error:
        say(str(error), err=True)
        return USAGE
    return carry_out(with_shipped_model(options))


def with_shipped_model(options: Options) -> Options:
    """Return the options with the shipped model, if the audio is ours and no model is named; else as they are."""
    folder = options.audio_dir
    if "model" in options.model_fields_set or not (folder / DEMO_MARK).is_file():
        return options
    say(f"{folder} is speech that we made and no --model is named: taking the small model that ships, {MODEL_DIR}", err=True)
    return options.model_copy(update={"model": str(MODEL_DIR)})


def check_llm(arguments: Sequence[str]) -> int:
    """Try the endpoint that the flags and the environment name; 0 it works, 1 it does not and the text says why, 2 wrong usage."""
    from trainer.gold.check import check_endpoint

    try:
        config = parse_llm(arguments, os.environ)
    except UsageError as error:
        say(str(error), err=True)
        return USAGE
    report = check_endpoint(config, os.environ)
    say("\n".join(report.lines()))
    return OK if report.ok else REFUSED
