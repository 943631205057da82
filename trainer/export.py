"""The candidate as a folder that anyone can load: merged weights as safetensors beside the base's vocabulary and preprocessor."""

import shutil
from pathlib import Path

from trainer.finetune import Adapted

ONE_FILE = "1000GB"
"""Larger than any model: never in shards."""


def export(adapted: Adapted, scale: float, base_folder: Path, folder: Path) -> None:
    """Merge the adapters at `scale` into the weights and write a model folder that needs no PEFT.

    Everything but the weights and their config is the base's own file. The network is merged in place.

    Raises:
        ValueError: a merged weight is not finite (`safe_merge`).
    """
    adapted.set_scale(scale)
    merged = adapted.wrapper.merge_and_unload(safe_merge=True)
    merged.save_pretrained(folder, max_shard_size=ONE_FILE)
    for path in sorted(base_folder.iterdir()):
        if path.suffix != ".safetensors" and not path.name.endswith(".safetensors.index.json") and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
