"""What tells one training from every other: what its weights depend on."""

import hashlib
from importlib.metadata import version

from shared.training import TRAINING_ROLES, TrainingConfig
from trainer.clips.sets import TrainingSets

PACKAGES = ("num2words", "numpy", "peft", "safetensors", "soundfile", "tokenizers", "torch", "transformers")


def config_sha256(config: TrainingConfig) -> str:
    """Return the digest of a resolved config: two runs of one digest, one base and one dataset are the same run."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def fingerprint(sets: TrainingSets, config: TrainingConfig, base_digest: str) -> str:
    """Return what tells one training from every other: its clips, their labels, its resolved config and its base.

    The time limit and the interval of checkpoints may change between attempts.
    """
    settings = config.model_copy(update={"max_train_s": None, "checkpoint_interval_s": 1.0})
    digest = hashlib.sha256(f"{base_digest} {config_sha256(settings)}".encode())
    for name in TRAINING_ROLES:
        for clip in getattr(sets, name):
            digest.update(repr((name, clip.clip.utterance_id, clip.clip.reference, clip.samples, clip.labels)).encode())
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a model's weights or transcripts depend on."""
    return {name: version(name) for name in PACKAGES}
