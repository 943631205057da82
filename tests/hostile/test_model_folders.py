"""Model folders that are not what they seem: refused with the file's name, before anything is built, unpacked or run."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from retune_client.cache import ModelCache
from retune_client.errors import ModelRefusedError
from retune_client.testing import ManualClock, MemoryModelStore

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from shared import keys
from shared.documents import document_bytes, parse_document, sha256_hex
from shared.errors import CorruptObject
from shared.manifest import ModelManifest
from shared.testing.memory_store import MemoryStore
from shared.training import ObjectRef
from trainer.attempt.spec import fetch_model
from trainer.importing import check_and_convert
from trainer.network.folder_check import check_folder
from trainer.network.model import load_model
from trainer.shell.failures import RunFailed
from trainer.testing import store_model, write_tiny_model

pytestmark = pytest.mark.torch


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model")


def configured(**changes: object) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | changes))


def announced(length: int) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", length) + b"{}" * 100)


def indexed(document: object) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.safetensors.index.json").write_text(json.dumps(document))


def test_a_model_that_is_one_passes(model: Path) -> None:
    check_folder(model)
    indexed({"weight_map": {"a": "model.safetensors"}})(model)
    check_folder(model)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (announced(2**63), "expected safetensors, found 208 bytes that announce a header of 9223372036854775808"),
        (announced(201), "announce a header of 201"),
        (announced(0), "announce a header of 0"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04"), "announce a header of 0"),
        (
            indexed({"weight_map": {"a": "../../secret.safetensors"}}),
            "expected names of files in the folder, found '../../secret.safetensors'",
        ),
        (indexed({"weight_map": {"a": "/etc/passwd"}}), "found '/etc/passwd'"),
        (indexed({"weight_map": {"a": ".."}}), r"found '\.\.'"),
        (indexed({"weight_map": {"a": ["x"]}}), "expected a weight_map"),
        (indexed([]), "expected a weight_map"),
        (configured(num_hidden_layers=10**9), "num_hidden_layers: expected 1-200, found 1000000000"),
        (configured(hidden_size=2**40), "hidden_size: expected 1-16384"),
        (configured(vocab_size="many"), "vocab_size: expected 1-1000000, found many"),
        (configured(conv_dim=[16] * 1000), "conv_dim: expected at most 64 numbers"),
        (lambda folder: (folder / "config.json").write_bytes(b"[" * 100_000), "config.json: expected JSON, found RecursionError"),
        (lambda folder: (folder / "vocab.json").write_bytes(b'{"\xff": 1}'), "vocab.json: expected JSON, found UnicodeDecodeError"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json: expected an object, found list"),
    ],
)
def test_a_folder_that_lies_is_refused_unloaded(model: Path, spoil: Callable[[Path], object], complaint: str) -> None:
    spoil(model)
    for load in (load_model, lambda folder: check_and_convert(str(folder), folder.parent / "ours")):
        with pytest.raises(CorruptObject, match=complaint):
            load(model)
    assert not (model.parent / "ours").exists()


def test_a_document_too_large_to_be_a_vocabulary_is_not_read(model: Path) -> None:
    with (model / "vocab.json").open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(CorruptObject, match=r"vocab\.json: expected at most 16777216 bytes, found 1099511627776"):
        load_model(model)


def test_a_zip_bomb_of_weights_is_not_unpacked(model: Path) -> None:
    (model / "model.safetensors").unlink()
    with zipfile.ZipFile(model / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(20 << 20))
    with pytest.raises(CorruptObject, match="bytes that unpack to 20971520"):
        check_and_convert(str(model), model.parent / "ours")


def test_weights_as_torch_writes_them_are_no_bomb(model: Path) -> None:
    torch.save({"a": torch.zeros(1_000)}, model / "pytorch_model.bin")
    check_folder(model)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_base_model_of_a_wrong_digest_is_never_loaded(model: Path, file: str, tmp_path: Path) -> None:
    store = MemoryStore()
    ref = store_model(store, 1, model)
    key = f"{keys.model(1)}{file}"
    changed = bytearray(store.get(key).data)
    changed[-2] ^= 1
    store.put(key, bytes(changed))
    with pytest.raises(RunFailed, match="expected sha256") as caught:
        fetch_model(store, ref, tmp_path / "fetched")
    assert caught.value.reason == "bad_base_model"
    assert not (tmp_path / "fetched" / file).exists()


@pytest.mark.parametrize("name", ["weights.pkl", "pytorch_model.bin", "modeling.py", "weights.pt"])
def test_a_manifest_with_a_file_that_can_hold_code_is_refused_before_it_is_fetched(model: Path, name: str, tmp_path: Path) -> None:
    store = MemoryStore()
    ref = store_model(store, 1, model)
    manifest = parse_document(ModelManifest, store.get(ref.key).data, what=ref.key)
    forged = document_bytes(manifest.model_copy(update={"files": (*manifest.files, manifest.files[0].model_copy(update={"name": name}))}))
    store.put(ref.key, forged)
    with pytest.raises(RunFailed, match="expected only"):
        fetch_model(store, ObjectRef(key=ref.key, sha256=sha256_hex(forged)), tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_link_where_a_model_is_fetched_to_is_replaced_and_not_followed(model: Path, tmp_path: Path) -> None:
    store, folder, secret = MemoryStore(), tmp_path / "fetched", tmp_path / "secret"
    ref = store_model(store, 1, model)
    folder.mkdir()
    secret.write_text("secret")
    (folder / "config.json").symlink_to(secret)
    fetch_model(store, ref, folder)
    assert secret.read_text() == "secret"
    assert not (folder / "config.json").is_symlink()


def cached(folder: Path) -> tuple[MemoryModelStore, ModelCache]:
    store = MemoryModelStore()
    store.put_model(1, {"model.safetensors": b"weights", "config.json": b"{}"})
    return store, ModelCache(store, folder, ManualClock())


def test_a_link_in_a_services_cache_is_replaced_and_not_followed(tmp_path: Path) -> None:
    store, cache = cached(tmp_path / "cache")
    folder = cache.fetch(1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"weights")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(elsewhere)  # the right bytes, which may change once they were verified
    assert not (cache.fetch(1) / "model.safetensors").is_symlink()
    assert store.reads.count("models/000001/model.safetensors") == 2
    moved = folder.rename(tmp_path / "moved")
    folder.symlink_to(moved)
    assert not cache.fetch(1).is_symlink()
    assert (moved / "model.safetensors").read_bytes() == b"weights"


def test_a_file_that_nobody_promised_does_not_stay_in_a_services_cache(tmp_path: Path) -> None:
    _, cache = cached(tmp_path / "cache")
    (cache.fetch(1) / "adapter_config.json").write_text("{}")
    assert sorted(path.name for path in cache.fetch(1).iterdir()) == ["config.json", "manifest.json", "model.safetensors"]


def test_a_service_refuses_a_model_of_a_wrong_digest_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    store, cache = cached(tmp_path / "cache")
    store.objects["models/000001/model.safetensors"] = b"weighty"
    with pytest.raises(ModelRefusedError, match="expected sha256"):
        cache.fetch(1)
    assert list((tmp_path / "cache").iterdir()) == []
