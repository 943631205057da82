"""What of a model folder can be told without loading it: no file that leads elsewhere, and none that is larger than it looks."""

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

from shared.errors import CorruptObject

MAX_JSON_BYTES = 16 << 20
"""A vocabulary of 100,000 tokens has 3 MB."""
MAX_HEADER_BYTES = 100 << 20
"""As the safetensors library has it."""
BOUNDS = {
    "num_hidden_layers": 200,
    "hidden_size": 16_384,
    "intermediate_size": 131_072,
    "num_attention_heads": 1_024,
    "vocab_size": 1_000_000,
    "num_conv_pos_embeddings": 4_096,
}
"""A network is built before its weights are read: ten times what the largest published wav2vec2 has."""
MAX_CONVOLUTIONS = 64


def check_folder(folder: Path) -> None:
    """Refuse a model folder that would cost more than it holds, or read what it does not hold.

    Links are followed (a hub's cache consists of them); what an index names must lie in the folder.

    Raises:
        CorruptObject: the text says which file is wrong.
    """
    for path in sorted(folder.glob("*.json")):
        document = _read_json(path)
        if path.name.endswith(".index.json"):
            _check_index(_what(path), document)
        elif path.name == "config.json":
            _check_config(_what(path), document)
    for path in sorted(folder.glob("*.safetensors")):
        _check_header(path)
    for path in sorted(folder.glob("*.bin")):
        _check_unpacked(path)


def _what(path: Path) -> str:
    return f"model {path.parent.name}: {path.name}"


def _read_json(path: Path) -> Any:
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise CorruptObject(f"{_what(path)}: expected at most {MAX_JSON_BYTES} bytes, found {size}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptObject(f"{_what(path)}: expected JSON, found {type(error).__name__}: {error}") from error


def _check_index(what: str, document: Any) -> None:
    shards = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise CorruptObject(f"{what}: expected a weight_map from tensors to files, found none")
    for shard in sorted(set(shards.values())):
        if shard != Path(shard).name or shard in {"", ".", ".."}:
            raise CorruptObject(f"{what}: expected names of files in the folder, found {shard[:100]!r}")


def _check_config(what: str, config: Any) -> None:
    if not isinstance(config, dict):
        raise CorruptObject(f"{what}: expected an object, found {type(config).__name__}")
    for name, most in BOUNDS.items():
        found = config.get(name, 1)
        if not isinstance(found, int) or not 1 <= found <= most:
            raise CorruptObject(f"{what}: {name}: expected 1-{most}, found {str(found)[:40]}")
    for name in ("conv_dim", "conv_kernel", "conv_stride"):
        found = config.get(name, [])
        if not isinstance(found, list) or len(found) > MAX_CONVOLUTIONS or not all(isinstance(n, int) and 1 <= n <= 16_384 for n in found):
            raise CorruptObject(f"{what}: {name}: expected at most {MAX_CONVOLUTIONS} numbers of 1-16384, found others")


def _check_header(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
        raise CorruptObject(f"{_what(path)}: expected safetensors, found {size} bytes that announce a header of {length}")


def _check_unpacked(path: Path) -> None:
    """Torch writes weights into a zip file as they are; one that is compressed unpacks to what nobody has asked for."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > path.stat().st_size:
        raise CorruptObject(
            f"{_what(path)}: expected weights that are stored as they are, found {path.stat().st_size} bytes that unpack to {unpacked}"
        )
