"""How many times faster than real time a model transcribes files, decoding of the audio included; in a process of its own.

`python -m tests.benchmarks.trainer.greedy --model DIR --clips DIR --device cpu --precision fp32 --out FILE`
"""

import argparse
import json
import time
from pathlib import Path

import torch

from tests.benchmarks.trainer.clips import read_audio, read_clips
from trainer.augment.acoustics import SAMPLE_RATE_HZ
from trainer.process import prepare_process
from trainer.recogniser import Recogniser

WARM_UP = 8


def main() -> None:
    """Transcribe all clips of a folder once and write how long it took."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--precision", choices=("fp32", "bf16"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_process()
    recogniser = Recogniser.load(arguments.model, arguments.device, arguments.precision)
    clips = read_clips(arguments.clips, "train_errors")
    recogniser.transcribe([read_audio(arguments.clips, clip) for clip in sorted(clips, key=lambda clip: clip.samples)[:WARM_UP]])
    _synchronise(arguments.device)
    started = time.perf_counter()
    for _ in recogniser.transcribe_lazily([clip.samples for clip in clips], lambda index: read_audio(arguments.clips, clips[index])):
        pass
    _synchronise(arguments.device)
    seconds, audio_s = time.perf_counter() - started, sum(clip.samples for clip in clips) / SAMPLE_RATE_HZ
    arguments.out.write_text(json.dumps({"times_real_time": audio_s / seconds}), encoding="utf-8")


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
