"""Which models of other people are taken, and in what form."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from safetensors.torch import load_file, save_file

from shared.errors import CorruptObject
from trainer.importing import check_and_convert, main
from trainer.network.model import load_model
from trainer.recogniser import Recogniser
from trainer.testing import tones, write_tiny_model

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_converted_model_hears_the_same(tmp_path: Path) -> None:
    theirs = write_tiny_model(tmp_path / "theirs")
    details = check_and_convert(str(theirs), tmp_path / "ours")
    clips = [tones("hello"), tones("go")]
    assert Recogniser.load(tmp_path / "ours", CPU).transcribe(clips) == Recogniser.load(theirs, CPU).transcribe(clips)
    assert details["feat_extract_norm"] == "layer"
    assert {path.suffix for path in (tmp_path / "ours").iterdir()} == {".json", ".safetensors"}


def test_a_processor_config_of_newer_transformers_is_read(tmp_path: Path) -> None:
    theirs = write_tiny_model(tmp_path / "theirs")
    extractor = json.loads((theirs / "preprocessor_config.json").read_text())
    (theirs / "preprocessor_config.json").unlink()
    (theirs / "processor_config.json").write_text(json.dumps({"feature_extractor": extractor | {"do_normalize": False}}))
    assert check_and_convert(str(theirs), tmp_path / "ours")["do_normalize"] is False
    assert load_model(tmp_path / "ours", CPU).do_normalize is False


def test_a_pickled_checkpoint_becomes_safetensors(tmp_path: Path) -> None:
    theirs = write_tiny_model(tmp_path / "theirs")
    torch.save(load_file(theirs / "model.safetensors"), theirs / "pytorch_model.bin")
    (theirs / "model.safetensors").unlink()
    check_and_convert(str(theirs), tmp_path / "ours")
    assert (tmp_path / "ours" / "model.safetensors").exists()
    assert not (tmp_path / "ours" / "pytorch_model.bin").exists()


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code of a stranger",))


def test_code_in_a_pickled_checkpoint_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = write_tiny_model(tmp_path / "theirs")
    torch.save({"lm_head.weight": Evil()}, theirs / "pytorch_model.bin")
    (theirs / "model.safetensors").unlink()
    with pytest.raises(CorruptObject):
        check_and_convert(str(theirs), tmp_path / "ours")
    assert "code of a stranger" not in capsys.readouterr().out


def test_weights_without_a_place_are_left_out_and_named(tmp_path: Path) -> None:
    theirs = write_tiny_model(tmp_path / "theirs")
    save_file(load_file(theirs / "model.safetensors") | {"quantizer.x": torch.zeros(1)}, theirs / "model.safetensors", {"format": "pt"})
    assert check_and_convert(str(theirs), tmp_path / "ours")["ignored_weights"] == ["quantizer.x"]
    with pytest.raises(CorruptObject, match="unknown"):
        load_model(theirs, CPU)


def test_a_model_with_missing_weights_is_refused(tmp_path: Path) -> None:
    theirs = write_tiny_model(tmp_path / "theirs")
    weights = load_file(theirs / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, theirs / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptObject, match=r"1 missing \(lm_head.weight\)"):
        check_and_convert(str(theirs), tmp_path / "ours")


@pytest.mark.parametrize(
    ("file", "changes", "complaint"),
    [
        ("preprocessor_config.json", {"sampling_rate": 8_000}, "expected a model for 16000 Hz, found 8000"),
        ("config.json", {"pad_token_id": 5}, "CTC blank"),
        ("vocab.json", {"|": 40, "#": 4}, "word delimiter"),
        ("config.json", {"vocab_size": 40}, "expected a wav2vec2 CTC model"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path, file: str, changes: dict[str, object], complaint: str) -> None:
    theirs = write_tiny_model(tmp_path / "theirs")
    edit(theirs / file, **changes)
    with pytest.raises(CorruptObject, match=complaint):
        check_and_convert(str(theirs), tmp_path / "ours")


def test_what_is_no_model_is_explained_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "ours")]) == 1
    assert main(["no/such/../model", str(tmp_path / "ours")]) == 1
    assert main([]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "expected model.safetensors" in said[0]
    assert "expected a folder or the name of a model" in said[1]
    assert "usage" in said[2]
