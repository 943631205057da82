"""The walk through the guide: speech that we make, the shipped model, every flag at its default."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")
pytest.importorskip("espeakng_loader", reason="the extra `local` is not installed")

from transformers import Wav2Vec2ForCTC

from infra.finetune import run
from infra.local.corpus import write_corpus
from shared.wer import count_word_errors
from trainer.finetune.report import FinetuneReport

pytestmark = pytest.mark.torch


def test_a_folder_of_speech_goes_in_and_a_better_model_comes_out(tmp_path: Path) -> None:
    audio, out = tmp_path / "calls", tmp_path / "out"
    write_corpus(audio, clean=100, noisy=100, callers_count=60, seed=0)
    assert run(["--audio_dir", str(audio), "--output-dir", str(out)]) == 0
    report = FinetuneReport.model_validate_json((out / "report.json").read_bytes())
    rows = [json.loads(line) for line in (out / "hypotheses.jsonl").read_text().splitlines()]
    held_out = [row for row in rows if row.get("split") == "holdout"]
    assert {row["condition"] for row in held_out} == {"clean", "noisy"}
    assert all("after" in row for row in held_out)
    noisy = [row for row in held_out if row["condition"] == "noisy"]
    worse, better = (sum(_errors(row, side) for row in noisy) for side in ("before", "after"))
    assert better < 0.95 * worse, (better, worse)
    assert not report.ended_early
    assert Wav2Vec2ForCTC.from_pretrained(out / "model").config.vocab_size == 32
    assert (out / "adapter" / "adapter_config.json").is_file()
    assert "</html>" in (out / "report.html").read_text()


def _errors(row: dict[str, str], side: str) -> int:
    return count_word_errors(row["reference"], row[side]).errors
