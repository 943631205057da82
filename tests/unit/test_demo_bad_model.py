"""The demo's bad model is a whole model that spells everything wrong."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import numpy as np
from safetensors.numpy import load_file

from infra.local.baseline import MODEL_DIR
from infra.local.demo.bad_model import write_bad_model
from trainer.testing import tones

pytestmark = pytest.mark.torch


def test_only_the_rows_of_letters_change_places(tmp_path: Path) -> None:
    bad, good = (load_file(folder / "model.safetensors") for folder in (write_bad_model(tmp_path / "bad"), MODEL_DIR))
    changed = [name for name in good if not np.array_equal(good[name], bad[name])]
    assert changed == ["lm_head.bias", "lm_head.weight"]
    rows = np.flatnonzero((good["lm_head.weight"] != bad["lm_head.weight"]).any(axis=1))
    assert len(rows) == 26
    assert sorted(map(tuple, bad["lm_head.weight"].tolist())) == sorted(map(tuple, good["lm_head.weight"].tolist()))


def test_it_loads_and_hears_something_else(tmp_path: Path) -> None:
    from trainer.recogniser import Recogniser

    sound = tones("hello there", seed=1)
    good, bad = (Recogniser.load(folder, "cpu").transcribe([sound])[0] for folder in (MODEL_DIR, write_bad_model(tmp_path / "bad")))
    assert len(good) == len(bad) > 0
    assert good != bad
