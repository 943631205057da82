"""`python -m trainer.finetune --audio-dir DIR`; see `retune finetune --help` or docs/guides/finetune.md."""

import os
import sys
from collections.abc import Sequence

from shared.terminal import say
from trainer.finetune.options import Options, UsageError, parse_options
from trainer.process import prepare_process


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the run that the flags ask for and return its exit code."""
    try:
        options = parse_options(sys.argv[1:] if arguments is None else arguments, os.environ)
    except UsageError as error:
        say(error, err=True)
        return 2
    return carry_out(options)


def carry_out(options: Options) -> int:
    """Carry out one run and return its exit code; see `trainer.finetune.pipeline.run_finetune`."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        print("torchrun: expected one process, found several, which would share an output folder: start it with python", file=sys.stderr)
        return 2

    prepare_process()

    from huggingface_hub.utils.tqdm import enable_progress_bars

    from trainer.finetune.gold import LlmGold, kept_answers
    from trainer.finetune.pipeline import Ports, run_finetune
    from trainer.shell.preemption import Preemption

    enable_progress_bars()  # a model that comes from the hub takes minutes
    preemption = Preemption()
    preemption.install()
    gold = LlmGold(options.llm, os.environ, kept_answers(os.environ)) if options.llm else None
    return run_finetune(options, Ports(gold=gold, preemption=preemption))


if __name__ == "__main__":
    sys.exit(main())
