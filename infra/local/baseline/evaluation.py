"""Greedy transcription and word error rate of a wav2vec2 with a CTC head."""

from collections.abc import Sequence

import jiwer
import numpy as np
import torch
from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

from infra.local.corpus import Caller, Domain, Utterance, make_utterance
from trainer.augment.acoustics import SAMPLE_RATE_HZ, Audio


def make_test_set(domain: Domain, callers: Sequence[Caller], count: int, seed: int) -> list[Utterance]:
    """Return `count` utterances of `callers` in turn."""
    rng = np.random.default_rng([seed, len(domain.value)])
    return [make_utterance(rng, domain, callers[index % len(callers)]) for index in range(count)]


@torch.inference_mode()
def transcribe(model: Wav2Vec2ForCTC, processor: Wav2Vec2Processor, clips: Sequence[Audio], batch_size: int = 16) -> list[str]:
    """Return the greedy transcript of each clip, in the order given.

    Args:
        model: with `feat_extract_norm="layer"`, so that padding does not change what it hears.
        processor: its feature extractor and tokenizer.
        clips: (samples,) float32 at 16 kHz each.
        batch_size: clips a forward pass, taken in order of length.
    """
    model.train(mode=False)
    order = sorted(range(len(clips)), key=lambda index: clips[index].size)
    texts = [""] * len(clips)
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        batch = processor([clips[index] for index in indices], sampling_rate=SAMPLE_RATE_HZ, padding=True, return_tensors="pt")
        ids = model(batch.input_values, attention_mask=batch.attention_mask).logits.argmax(-1)  # (batch, frames)
        frames = model._get_feat_extract_output_lengths(batch.attention_mask.sum(-1)).tolist()  # noqa: SLF001  the only name it has
        for index, row, length in zip(indices, ids, frames, strict=True):
            texts[index] = processor.tokenizer.decode(row[:length])
    return texts


def word_error_rate(model: Wav2Vec2ForCTC, processor: Wav2Vec2Processor, utterances: Sequence[Utterance]) -> float:
    """Return the word error rate pooled over `utterances`."""
    heard = transcribe(model, processor, [utterance.audio for utterance in utterances])
    return float(jiwer.wer([utterance.text for utterance in utterances], heard))
