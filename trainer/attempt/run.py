"""One attempt of one cycle, from its first look at the state to its last word: `trainer.attempt.work` within `trainer.shell.carry`."""

from trainer.attempt.spec import parse_spec_uri
from trainer.attempt.work import Attempt, Dependencies, carry_out
from trainer.shell.carry import Ending, carry
from trainer.shell.progress import Progress

__all__ = ["Ending", "run"]


def run(spec_uri: str, attempt: int, deps: Dependencies) -> Ending:
    """Carry out one attempt; its events are published, its end is returned.

    Args:
        spec_uri: `gs://bucket/cycles/000012/spec.json`; its store is `deps.store`.
        attempt: number of the attempt that was started.
        deps: everything outside.

    Raises:
        InvalidMessage: `spec_uri` is not the address of a spec.
        Retryable: a failure could not be published; the stale heartbeat will tell.
    """
    cycle = parse_spec_uri(spec_uri).cycle
    work = Attempt(deps, cycle, attempt, Progress(deps.work_dir / "train-log.jsonl", deps.clock))
    return carry(work, lambda: carry_out(work))
