"""The candidate as a folder that anyone can load: merged weights as safetensors beside the base's vocabulary and preprocessor."""

import shutil
from pathlib import Path

from trainer.learning.adapted import Adapted
from trainer.network.model import ONE_FILE


def export(adapted: Adapted, scale: float, base_folder: Path, folder: Path) -> None:
    """Write a model folder, in float32, of the base and the update at `scale`; it needs no PEFT.

    Everything but the weights and their config is the base's own file.

    Raises:
        ValueError: a merged weight is not finite (`safe_merge`).
    """
    adapted.merged(base_folder, scale).save_pretrained(folder, max_shard_size=ONE_FILE)
    for path in sorted(base_folder.iterdir()):
        if path.suffix != ".safetensors" and not path.name.endswith(".safetensors.index.json") and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
