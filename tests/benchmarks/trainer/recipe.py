"""The usual recipe: what Hugging Face's `run_speech_recognition_ctc.py` does with the settings that its text documents.

Written from its description and with the real `transformers.Trainer`: AdamW, batches of 8, clips of at most 20 s, no grouping by length,
the feature encoder frozen, all dropouts and layerdrop 0, SpecAugment over 5% of the frames, the mean CTC loss, no accumulation. Each item
holds its `input_values` as the script's preprocessing leaves them: normalised, and handed out as a list of Python floats.

Ours masks nothing, so that the frozen layers can be computed once; the recipe keeps its masks, whose cost is that of a few operations.

In three things it is kinder than the script: labels have no trailing word delimiter, which the models here never learned; the learning
rate rises and falls as ours does; and grouping by length is what a corpus of 1600 clips or more would get, since over a few clips
`LengthGroupedSampler` groups nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments, Wav2Vec2ForCTC, Wav2Vec2Processor
from transformers.trainer_pt_utils import get_length_grouped_indices

from tests.benchmarks.trainer.clips import LONGEST_S, Clip, read_audio
from tests.benchmarks.trainer.jobs import BATCH, Job, Stopwatch, Trained
from trainer.augment.acoustics import SAMPLE_RATE_HZ
from trainer.network.forward import bf16_positions_are_wrong

ENCODER_LINEAR = r".*encoder\.layers\.\d+\.(attention\.(q|k|v|out)_proj|feed_forward\.(intermediate|output)_dense)"
IGNORED = -100
MEGA_BATCHES = 50
"""Batches that `LengthGroupedSampler` sorts together where there are enough clips."""
WARMUP = 0.1


class RecipeDataset(Dataset[dict[str, Any]]):
    """Normalised clips with their labels, in memory."""

    def __init__(self, processor: Any, folder: Path, clips: Sequence[Clip], *, arrays: bool) -> None:
        kept = [clip for clip in clips if clip.samples <= LONGEST_S * SAMPLE_RATE_HZ]
        self.lengths = [clip.samples for clip in kept]
        self._inputs = [
            processor.feature_extractor(read_audio(folder, clip), sampling_rate=SAMPLE_RATE_HZ).input_values[0] for clip in kept
        ]
        self._labels = [processor.tokenizer(clip.text).input_ids for clip in kept]
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        values = self._inputs[index]
        return {"input_values": values if self._arrays else values.tolist(), "labels": self._labels[index]}


class Collator:
    """Pads inputs and labels of a batch to its longest, labels with -100; counts the samples on the way."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self.batches = self.clips = self.real = self.computed = 0

    def __call__(self, items: Sequence[dict[str, Any]]) -> Any:
        batch = self._processor.pad([{"input_values": item["input_values"]} for item in items], padding=True, return_tensors="pt")
        labels = self._processor.tokenizer.pad([{"input_ids": item["labels"]} for item in items], padding=True, return_tensors="pt")
        batch["labels"] = labels["input_ids"].masked_fill(labels["attention_mask"].ne(1), IGNORED)
        self.batches += 1
        self.clips += len(items)
        self.real += sum(len(item["input_values"]) for item in items)
        self.computed += batch["input_values"].numel()
        return batch


class GroupedSampler(Sampler[int]):
    """Batches of like length, by the Trainer's own function."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = list(lengths)

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Any:
        return iter(get_length_grouped_indices(self._lengths, BATCH, mega_batch_mult=MEGA_BATCHES))


class GroupedTrainer(Trainer):
    """`train_sampling_strategy="group_by_length"` with a length column, which the Trainer reads from a `datasets.Dataset` alone."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset: Any = train_dataset or self.train_dataset
        return GroupedSampler(dataset.lengths)


class EpochEnds(TrainerCallback):
    """Tells the stopwatch."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_rest: Any) -> None:
        self._stopwatch.epoch_done()


def build_network(job: Job) -> Any:
    """Return the network as the script configures it, with PEFT's adapters in its encoder for LoRA; the head is trained whole then."""
    network: Any = Wav2Vec2ForCTC.from_pretrained(
        job.model,
        dtype=torch.float32,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        hidden_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.05,
        mask_time_length=10,
        mask_feature_prob=0.0,
        ctc_loss_reduction="mean",
    )
    network.freeze_feature_encoder()
    if job.device == "cpu" and bf16_positions_are_wrong(network):
        compute_in_float32(network.wav2vec2.encoder.pos_conv_embed)
    if job.variant.method == "full":
        return network
    return get_peft_model(
        network, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=ENCODER_LINEAR, modules_to_save=["lm_head"])
    )


def compute_in_float32(module: torch.nn.Module) -> None:
    """Leave a module out of autocast, as ours does where bf16 would be wrong."""
    forward = module.forward

    def exact(hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            result: torch.Tensor = forward(hidden.float())
        return result

    module.forward = exact


def prepare(job: Job, clips: Sequence[Clip], network: Any) -> tuple[RecipeDataset, Collator, Any]:
    """Return the dataset, the collator and the processor: all that the script has made before it trains."""
    processor: Any = Wav2Vec2Processor.from_pretrained(job.model)
    network.to(job.device)
    return RecipeDataset(processor, job.clips, clips, arrays=job.variant.arrays), Collator(processor), processor


def train(job: Job, network: Any, dataset: RecipeDataset, collator: Collator, processor: Any, stopwatch: Stopwatch) -> Trained:
    """Train as the script does and return what the batches were like."""
    with TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            per_device_train_batch_size=BATCH,
            num_train_epochs=job.epochs,
            learning_rate=job.learning_rate,
            warmup_steps=WARMUP,
            bf16=job.variant.precision == "bf16",
            use_cpu=job.device == "cpu",
            dataloader_pin_memory=job.device == "cuda",
            seed=job.seed,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = (GroupedTrainer if job.variant.grouped else Trainer)(
            model=network,
            args=arguments,
            data_collator=collator,
            train_dataset=dataset,
            processing_class=processor.feature_extractor,
            callbacks=[EpochEnds(stopwatch)],
        )
        trainer.train()
    stopwatch.stop()
    return Trained(
        clips=collator.clips,
        steps=collator.batches,
        padding_share=1.0 - collator.real / collator.computed,
        trained_parameters=sum(weight.numel() for weight in network.parameters() if weight.requires_grad),
    )


def seeded(seed: int) -> None:
    """Seed what draws masks, adapters and batches."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - transformers draws its masks from the global generator
