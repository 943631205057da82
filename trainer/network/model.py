"""A wav2vec2 CTC model in a folder: loaded in float32, checked, and never anything but safetensors."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from shared.errors import CorruptObject
from trainer.network.decode import Vocabulary
from trainer.network.folder_check import check_folder

MAY_BE_MISSING = frozenset({"wav2vec2.masked_spec_embed"})
"""Only SpecAugment reads it; many CTC checkpoints lack it (huggingface/transformers#14869), see `AcousticModel.has_mask_embedding`."""
ONE_FILE = "1000GB"
"""As `max_shard_size` larger than any model: never in shards."""
VARIANCE_FLOOR = 1e-7

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AcousticModel:
    """A loaded network and what belongs to it.

    Attributes:
        network: `Wav2Vec2ForCTC` in float32 and eval mode.
        vocabulary: what its outputs stand for.
        sampling_rate_hz: of the audio that it was trained on.
        do_normalize: each clip is brought to zero mean and unit variance first.
        has_mask_embedding: the checkpoint holds what SpecAugment puts in place of a masked frame.
    """

    network: Any
    vocabulary: Vocabulary
    sampling_rate_hz: int
    do_normalize: bool
    has_mask_embedding: bool = False

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        device: torch.device = self.network.lm_head.weight.device
        return device

    @property
    def receptive_field(self) -> int:
        """The fewest samples that make one frame (400 for the published models)."""
        samples = 1
        for kernel, stride in reversed(_convolutions(self.network.config)):
            samples = (samples - 1) * stride + kernel
        return samples

    def frames_of(self, samples: int) -> int:
        """Return how many frames a clip of so many samples makes."""
        return frames_of(self.network.config, samples)

    def prepare(self, samples: Samples) -> Samples:
        """Return one unpadded clip as the network wants it: normalised over its own samples, and not shorter than a frame.

        Same numbers as `Wav2Vec2FeatureExtractor` for a clip alone (`zero_mean_unit_var_norm`), which takes about as long and lengthens
        no clip.
        """
        if self.do_normalize and samples.size:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + VARIANCE_FLOOR)
        missing = self.receptive_field - samples.size
        return np.pad(samples, (0, missing)) if missing > 0 else samples


def frames_of(config: Any, samples: int) -> int:
    """Return the frames that the convolutions of `config` make of `samples`, which is at least one after `prepare`."""
    for kernel, stride in _convolutions(config):
        samples = (samples - kernel) // stride + 1
    return max(1, samples)


def _convolutions(config: Any) -> list[tuple[int, int]]:
    return list(zip(config.conv_kernel, config.conv_stride, strict=True))


def default_device() -> torch.device:
    """Return the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model(folder: Path, device: torch.device | None = None) -> AcousticModel:
    """Load a model from a local folder of config, vocabulary, preprocessor and safetensors.

    Raises:
        CorruptObject: the folder is not a complete wav2vec2 CTC model; the text says what is wrong.
    """
    if not any(folder.glob("*.safetensors")):
        raise CorruptObject(f"model {folder.name}: expected a *.safetensors file, found {sorted(path.name for path in folder.glob('*'))}")
    check_folder(folder)
    network, report, extractor, tokenizer = read_pretrained(str(folder), folder.name, local_only=True, use_safetensors=True)
    check_weights(folder.name, report)
    vocabulary = read_vocabulary(tokenizer, network.config)
    network.requires_grad_(requires_grad=False).eval()
    network.to(device or default_device())
    return AcousticModel(
        network,
        vocabulary,
        sampling_rate_hz=int(extractor.sampling_rate),
        do_normalize=bool(extractor.do_normalize),
        has_mask_embedding=settle_mask_embedding(network, report),
    )


def read_pretrained(source: str, name: str, *, local_only: bool, **weights: Any) -> tuple[Any, dict[str, Any], Any, Any]:
    """Return network (float32), loading info, feature extractor and tokenizer as transformers reads them.

    Args:
        source: a folder, or a name on the hub.
        name: of the model, for the message.
        local_only: nothing is fetched.
        **weights: in which form they may come.

    Raises:
        CorruptObject: it is no wav2vec2 CTC model.
    """
    try:
        loaded: Any = Wav2Vec2ForCTC.from_pretrained(
            source, dtype=torch.float32, local_files_only=local_only, output_loading_info=True, **weights
        )
        extractor = Wav2Vec2FeatureExtractor.from_pretrained(source, local_files_only=local_only)
        tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(source, local_files_only=local_only)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, UnpicklingError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise CorruptObject(f"model {name}: expected a wav2vec2 CTC model, found {type(error).__name__}: {error}") from error
    return (*loaded, extractor, tokenizer)


def settle_mask_embedding(network: Any, report: dict[str, Any]) -> bool:
    """Put zeros in place of a mask embedding that the checkpoint lacks, and tell whether there is one.

    transformers puts random numbers there. Once saved, they would pass for learned ones, and differ from process to process.
    A network whose config asks for no masks has no place for it.

    Args:
        network: `Wav2Vec2ForCTC`; changed in place.
        report: the loading info of `from_pretrained`.
    """
    embedding = getattr(network.wav2vec2, "masked_spec_embed", None)
    if embedding is None:
        return False
    if MAY_BE_MISSING & set(report.get("missing_keys", ())):
        torch.nn.init.zeros_(embedding)
    return bool(embedding.any())


def check_weights(name: str, report: dict[str, Any], *, unknown_allowed: bool = False) -> None:
    """Refuse a checkpoint that does not fill the network.

    transformers fills a missing weight with random numbers and says so in a warning only.

    Args:
        name: of the model, for the message.
        report: the loading info of `from_pretrained`.
        unknown_allowed: weights that the architecture has no place for are left out and not refused.

    Raises:
        CorruptObject: a weight is missing, of another shape, or unknown to the architecture.
    """
    problems = {
        "missing": set(report.get("missing_keys", ())) - MAY_BE_MISSING,
        "of another shape": {str(key) for key in report.get("mismatched_keys", ())},
        "unknown": set() if unknown_allowed else set(report.get("unexpected_keys", ())),
    }
    found = [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in problems.items() if keys]
    if found:
        raise CorruptObject(f"model {name}: expected all weights of Wav2Vec2ForCTC, found {'; '.join(found)}")


def _some(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys)[:3])


def read_vocabulary(tokenizer: Any, config: Any) -> Vocabulary:
    """Return what the outputs of the head stand for.

    Raises:
        CorruptObject: tokenizer and head do not belong together.
    """
    outputs = int(config.vocab_size)
    names = {int(index): str(token) for token, index in tokenizer.get_vocab().items() if isinstance(index, int)}
    tokens = tuple(names.get(index, str(tokenizer.unk_token)) for index in range(outputs))
    delimiter = str(tokenizer.word_delimiter_token)
    if config.pad_token_id is None or tokenizer.pad_token_id != config.pad_token_id:
        raise CorruptObject(
            f"CTC blank: expected the tokenizer's pad id {tokenizer.pad_token_id}, found {config.pad_token_id} in the config"
        )
    vocabulary = Vocabulary(tokens, blank=int(config.pad_token_id), delimiter=delimiter, lower_case=bool(tokenizer.do_lower_case))
    if delimiter not in tokens or not vocabulary.letters:
        raise CorruptObject(f"vocabulary: expected letters and the word delimiter {delimiter!r}, found {list(tokens[:10])}")
    if getattr(config, "add_adapter", False):
        raise CorruptObject("architecture: expected one output per convolution frame, found add_adapter=true")
    return vocabulary
