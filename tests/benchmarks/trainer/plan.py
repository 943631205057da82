"""Which variants are measured on which shapes, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.benchmarks.trainer.clips import SpeechCounts
from tests.benchmarks.trainer.jobs import Precision, Variant

Device = Literal["cpu", "cuda"]
ShapeName = Literal["tiny", "base", "large"]
Depth = Literal["targets", "parts", "all"]

SHAPES: dict[ShapeName, dict[str, Any]] = {
    "tiny": {},
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "do_stable_layer_norm": True,
        "feat_extract_norm": "layer",
        "conv_bias": True,
    },
}
"""Arguments of `Wav2Vec2Config`, whose defaults are wav2vec2-base; the tiny shape is the shipped baseline."""

TINY_RATES = {"full": 2e-3, "lora": 6e-3}
"""Of four each, the lowest mean of both WERs after six epochs, for the recipe as for ours, on speech of another seed."""
NOISE_RATE = 1e-5
"""Small enough that random weights on noise stay finite."""

HALF, QUARTER = 0.5, 0.25
A_FULL_FP32 = Variant("a_full_fp32", "recipe, full", "recipe", "full", "fp32")
A_FULL_BF16 = Variant("a_full_bf16", "recipe, full", "recipe", "full", "bf16")
A_ARRAYS = Variant("a_full_arrays", "recipe, full, clips as arrays", "recipe", "full", arrays=True)
A_LORA_FP32 = Variant("a_lora_fp32", "recipe, LoRA", "recipe", "lora", "fp32")
A_LORA_BF16 = Variant("a_lora_bf16", "recipe, LoRA", "recipe", "lora", "bf16")
A_GROUPED = Variant("a_grouped_full", "recipe, full, grouped by length", "recipe", "full", grouped=True)
A_GROUPED_LORA = Variant("a_grouped_lora", "recipe, LoRA, grouped by length", "recipe", "lora", grouped=True)
B = Variant("b", "ours, full", "ours", "full")
C = Variant("c", "ours, LoRA, all layers", "ours", "lora")
D = Variant("d", "ours, LoRA, top half, cache", "ours", "lora", top_share=HALF, cache="on")
B_RANDOM = replace(B, name="b_random_batches", says="(b) with random batches of 8", random_batches=True)
B_NO_CACHE = replace(B, name="b_no_cache", says="(b) without cache", cache="off")
D_RANDOM = replace(D, name="d_random_batches", says="(d) with random batches of 8", random_batches=True)
D_NO_CACHE = replace(D, name="d_no_cache", says="(d) without cache", cache="off")
D_ALL = replace(D, name="d_all_layers", says="(d) with all layers", top_share=None)
D_QUARTER = replace(D, name="d_top_quarter", says="(d) with the top quarter alone", top_share=QUARTER)
REFERENCES = ("a_full_fp32", "a_full_bf16", "a_full_arrays")
"""The best of them is what ours is compared with."""


@dataclass(frozen=True)
class Size:
    """How much is measured on one shape.

    Attributes:
        clips: of noise.
        epochs: of one run.
        repetitions: of the variants that the targets name; the others run once.
        depth: the variants that the targets name; also those that switch one part off; also further ones of the recipe.
        speech: instead of noise.
    """

    clips: int
    epochs: int
    repetitions: int
    depth: Depth = "all"
    speech: SpeechCounts | None = None


def size_of(shape: ShapeName, device: Device, *, quick: bool) -> Size:
    """Return how much to measure: on two cores all of it takes an hour and more."""
    if quick:
        few = SpeechCounts(errors=48, replay=48, held_out=60, held_out_clean=30)
        return Size(clips=8, epochs=2, repetitions=1, depth="targets", speech=few)
    if shape == "tiny":
        speech = SpeechCounts(errors=200, replay=200, held_out=600, held_out_clean=300)
        return Size(clips=0, epochs=6, repetitions=3, speech=speech)
    if device == "cuda":
        return Size(clips=512, epochs=3, repetitions=3)
    if shape == "base":
        return Size(clips=16, epochs=2, repetitions=2, depth="parts")
    return Size(clips=8, epochs=2, repetitions=1, depth="parts")


def learning_rate(shape: ShapeName, variant: Variant) -> float:
    """Return the peak rate."""
    return TINY_RATES[variant.method] if shape == "tiny" else NOISE_RATE


def variants(shape: ShapeName, size: Size, fast: Precision) -> list[Variant]:
    """Return what runs after both precisions of the recipe's full fine-tuning have, with every precision filled in.

    Args:
        shape: the tiny one has two layers, so no quarter of them.
        size: how much.
        fast: the precision in which the recipe was the faster.
    """
    slow: Precision = "fp32" if fast == "bf16" else "bf16"
    lora = {"fp32": A_LORA_FP32, "bf16": A_LORA_BF16}
    chosen = [lora[fast], A_ARRAYS, A_GROUPED, B, C, D]
    if shape != "tiny":
        chosen.append(D_QUARTER)
    if size.depth != "targets":
        chosen += [D_RANDOM, D_NO_CACHE, D_ALL, _other_precision(D, slow), B_RANDOM, B_NO_CACHE, _other_precision(B, slow), lora[slow]]
    if size.depth == "all":
        chosen.append(A_GROUPED_LORA)
    return [variant if variant.precision else replace(variant, precision=fast) for variant in chosen]


def _other_precision(variant: Variant, precision: Precision) -> Variant:
    return replace(variant, name=f"{variant.name}_{precision}", says=f"({variant.name}) in the other precision", precision=precision)


def repeated(chosen: Sequence[Variant], fast: Precision) -> list[Variant]:
    """Return the variants that the targets name, to be run again in the same order."""
    full = A_FULL_BF16 if fast == "bf16" else A_FULL_FP32
    return [full, *(variant for variant in chosen if variant.name in {"a_full_arrays", "a_grouped_full", "b", "c", "d"})]
