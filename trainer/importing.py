"""A person's own wav2vec2 CTC model, checked and brought into the form that everything here loads.

    python -m trainer.importing SOURCE FOLDER      prints one JSON line of details

SOURCE is a local folder or the name of a model on the Hugging Face hub. Weights that come as `pytorch_model.bin` are read
with `torch.load(weights_only=True)`, which builds tensors and runs no code, and are converted to safetensors: from here on
there is no pickle.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.errors import CorruptObject
from shared.training import TrainingConfig
from trainer.network.folder_check import check_folder
from trainer.network.model import ONE_FILE, Samples, check_weights, read_pretrained, read_vocabulary, settle_mask_embedding
from trainer.process import hush_transformers
from trainer.recogniser import Recogniser

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
SMOKE_SECONDS = 1.0


def check_and_convert(source: str, folder: Path) -> dict[str, Any]:
    """Load a model, check that it can be trained and served, and write it to `folder`.

    Written are float32 safetensors, config, vocabulary and preprocessor.

    Args:
        source: a local folder, or a name on the hub.
        folder: made if need be, expected to be empty.

    Returns:
        What was found: parameters, letters, rate, ... for the manifest's details.

    Raises:
        CorruptObject: it is no wav2vec2 CTC model, is incomplete, has another rate than ours, or its transcripts depend on
            the batch.
    """
    local = Path(source).is_dir()
    if local and not any(any(Path(source).glob(pattern)) for pattern in WEIGHTS):
        found = sorted(path.name for path in Path(source).iterdir())[:10]
        raise CorruptObject(f"model {source}: expected model.safetensors (or pytorch_model.bin), found {found}")
    if not local and not HUB_NAME.fullmatch(source):
        raise CorruptObject(f"model {source!r}: expected a folder or the name of a model on the hub, found neither")
    if local:
        check_folder(Path(source))
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "true"  # transformers would ask a service of the hub to convert it there
    network, report, extractor, tokenizer = read_pretrained(source, source, local_only=local, weights_only=True)
    check_weights(source, report, unknown_allowed=True)
    vocabulary = read_vocabulary(tokenizer, network.config)
    rate_hz = TrainingConfig().sampling_rate_hz
    if extractor.sampling_rate != rate_hz:
        raise CorruptObject(f"model {source}: expected a model for {rate_hz} Hz, found {extractor.sampling_rate}")
    settle_mask_embedding(network, report)
    network.save_pretrained(folder, max_shard_size=ONE_FILE)
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    _smoke_test(Recogniser.load(folder), source)
    return {
        "source": source,
        "architecture": network.config.model_type,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "layers": network.config.num_hidden_layers,
        "hidden_size": network.config.hidden_size,
        "feat_extract_norm": network.config.feat_extract_norm,
        "letters": "".join(sorted(vocabulary.letters)),
        "sampling_rate_hz": extractor.sampling_rate,
        "do_normalize": bool(extractor.do_normalize),
        "ignored_weights": sorted(report.get("unexpected_keys", ())),
        "packages": {name: version(name) for name in ("torch", "transformers")},
    }


def _smoke_test(recogniser: Recogniser, source: str) -> None:
    """Transcribe noise, alone and beside a longer clip."""
    rng = np.random.default_rng(0)
    rate_hz = recogniser.model.sampling_rate_hz
    short, long = (rng.normal(scale=0.1, size=int(seconds * rate_hz)) for seconds in (SMOKE_SECONDS, 2 * SMOKE_SECONDS))
    clips: list[Samples] = [short.astype(np.float32), long.astype(np.float32)]
    features = recogniser.features(clips)
    alone, together = recogniser.logits(features[:1])[0][0], recogniser.logits(features)[0][0]
    if not bool(torch.isfinite(alone).all()):
        raise CorruptObject(f"model {source}: expected finite logits for {SMOKE_SECONDS:g} s of noise, found others")
    if not torch.allclose(alone, together[: len(alone)], atol=1e-3, rtol=1e-3):
        raise CorruptObject(f"model {source}: expected logits that do not depend on the batch, found others")


def main(arguments: Sequence[str]) -> int:
    """Print the details of the converted model, or say on stderr what is wrong with it and return 1."""
    if len(arguments) != 2:
        print("usage: python -m trainer.importing SOURCE FOLDER", file=sys.stderr)
        return 2
    hush_transformers()
    try:
        details = check_and_convert(arguments[0], Path(arguments[1]))
    except CorruptObject as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # one line, for who shows the last one
        return 1
    print(json.dumps(details))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
