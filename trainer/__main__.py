"""`python -m trainer --spec gs://bucket/cycles/000012/spec.json --attempt 1`.

On a machine with several GPUs: `torchrun --nproc-per-node N -m trainer --spec ...`.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.errors import InvalidMessage


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one attempt of one cycle and return the exit code.

    0: the result is written, or there was nothing to do; 1: failed, and said so; 2: wrong arguments; 143: preempted.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    if chosen.attempt < 1:
        parser.error(f"--attempt: expected a number from 1, found {chosen.attempt}")
    if chosen.heartbeat_s <= 0:
        parser.error(f"--heartbeat-s: expected a positive number, found {chosen.heartbeat_s}")
    if not project:
        parser.error("GOOGLE_CLOUD_PROJECT: expected the project of the training-events topic, found nothing")

    from shared.stores import open_store
    from trainer.attempt.spec import parse_spec_uri
    from trainer.process import prepare_process

    try:
        address = parse_spec_uri(chosen.spec)
        store = open_store(address.store_uri)
    except InvalidMessage as error:
        parser.error(f"--spec: {error}")

    prepare_process()

    from shared.audio_source import AudioSource
    from shared.clock import SystemClock
    from shared.pubsub import PubSubBus
    from shared.tracing import Place, traces_from_env
    from trainer.attempt.follow import Followers, follow
    from trainer.attempt.run import Dependencies, run
    from trainer.learning.group import left_in_order, open_group
    from trainer.shell.attempt import Attempt
    from trainer.shell.machine import find_machine
    from trainer.shell.preemption import Preemption
    from trainer.shell.progress import TRAIN_LOG, Progress

    try:
        group = open_group()
    except InvalidMessage as error:
        parser.error(str(error))
    preemption = Preemption()
    if group.leads:
        preemption.install()
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # rank 0 leaves a checkpoint first, and is missed then
    with left_in_order(), TemporaryDirectory(prefix="retune-trainer-", dir=chosen.work_dir) as work_dir:
        if not group.leads:
            return follow(group, Path(work_dir))
        followers = Followers(group)
        clock = SystemClock()
        attempt = Attempt(
            store=store,
            publisher=PubSubBus(project),
            clock=clock,
            cycle=address.cycle,
            number=chosen.attempt,
            progress=Progress(Path(work_dir) / TRAIN_LOG, clock),
            heartbeat_s=chosen.heartbeat_s,
            preemption=preemption,
            machine=find_machine(os.environ),
            traces=traces_from_env(Place("retune-trainer", store.uri, project), clock, os.environ),
        )
        deps = Dependencies(Path(work_dir), lambda prefixes: AudioSource(open_store, prefixes), followers=followers)
        try:
            return run(attempt, deps).exit_code
        finally:
            followers.dismiss()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Fine-tune wav2vec2 on one cycle's errors.")
    parser.add_argument("--spec", required=True, help="gs://bucket/cycles/000012/spec.json, or the same under file:///folder")
    parser.add_argument("--attempt", type=int, default=1, help="number of this attempt (default 1)")
    parser.add_argument(
        "--heartbeat-s",
        type=float,
        default=os.environ.get("RETUNE_HEARTBEAT_S", "20"),
        help="seconds between heartbeats (default: $RETUNE_HEARTBEAT_S, else 20)",
    )
    parser.add_argument("--work-dir", type=Path, help="where the run may put its files; they go when it ends (default: the system's)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
