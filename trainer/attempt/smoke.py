"""Proof that an exported model works where it has never been: a fresh process loads the folder and hears the same.

python -m trainer.attempt.smoke FOLDER WAV...      prints one JSON list of transcripts
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.wer import count_char_errors
from trainer.shell.failures import RunFailed

TIMEOUT_S = 900.0
TOLERANCE = 0.02


def transcribe_in_fresh_process(folder: Path, clips: Sequence[Path]) -> list[str]:
    """Transcribe audio files with a model folder in a process of its own, without PEFT.

    Raises:
        RunFailed: (smoke_test_failed) the process failed, or did not end in 15 minutes.
    """
    command = [sys.executable, "-m", "trainer.attempt.smoke", str(folder), *map(str, clips)]
    root = str(Path(__file__).resolve().parent.parent.parent)
    search_path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": search_path, "HF_HUB_OFFLINE": "1"}
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise RunFailed("smoke_test_failed", f"expected transcripts within {TIMEOUT_S:g} s, found none") from error
    if ended.returncode:
        raise RunFailed("smoke_test_failed", f"expected exit code 0, found {ended.returncode}: {ended.stderr[-1000:]}")
    transcripts: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return transcripts


def check_same_transcripts(expected: Sequence[str], found: Sequence[str]) -> None:
    """Compare transcripts; the texts stay out of the message.

    A GPU may round otherwise in another process, so that a character at the edge tips over; a broken export hears nothing alike.

    Raises:
        RunFailed: (smoke_test_failed) more than a fiftieth of the characters differ.
    """
    if len(expected) != len(found):
        raise RunFailed("smoke_test_failed", f"expected {len(expected)} transcripts, found {len(found)}")
    different = [(a, b) for a, b in zip(expected, found, strict=True) if a != b]
    edits = sum(max(1, count_char_errors(a, b).errors) for a, b in different)
    if edits > TOLERANCE * sum(map(len, expected)):
        raise RunFailed("smoke_test_failed", f"expected the same transcripts, found {edits} characters in {len(different)} clips different")


def main(arguments: Sequence[str]) -> None:
    """Print the transcripts of the named files."""
    from trainer.clips.audio import read_waveform
    from trainer.process import hush_transformers
    from trainer.recogniser import Recogniser

    folder, *clips = arguments
    hush_transformers()
    recogniser = Recogniser.load(folder)
    print(json.dumps(recogniser.transcribe([read_waveform(Path(clip)) for clip in clips])))


if __name__ == "__main__":
    main(sys.argv[1:])
