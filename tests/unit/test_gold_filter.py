"""What the sound says of a proposed transcript, and what becomes of it."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from shared.gold import AcousticScores
from trainer.gold.filter import (
    ACCEPT,
    REVIEW,
    Bounds,
    Proposal,
    Thresholds,
    Unalignable,
    decide,
    score,
    thresholds,
)
from trainer.network.align import LogProbs
from trainer.network.decode import Vocabulary

pytestmark = pytest.mark.torch

VOCABULARY = Vocabulary(("<pad>", "|", "a", "b"), blank=0)
CUTS = Thresholds(accept=Bounds(-0.5, -4.0, -6.0), review=Bounds(-1.5, -9.0, -12.0), source="this test")
FINE = AcousticScores(margin=-0.2, worst_word=-1.0, worst_gap=-1.0, cer=0.1)


def frames(heard: str, sure: float = 0.7) -> LogProbs:
    """Return log-probabilities in which each character of `heard` ("-" the blank, " " the delimiter) has a frame of its own."""
    rows = np.full((len(heard), 4), (1 - sure) / 3)
    rows[range(len(heard)), ["- ab".index(char) for char in heard]] = sure
    log_probs: LogProbs = np.log(rows)
    return log_probs


def scored(log_probs: LogProbs, text: str) -> AcousticScores:
    found = score(log_probs, text, VOCABULARY)
    assert isinstance(found, AcousticScores), found
    return found


def fine(**changes: float) -> AcousticScores:
    return AcousticScores(**FINE.model_dump() | changes)


def verdict(scores: AcousticScores | Unalignable, agreement: float = 1.0, *, heard: bool = True, refuted: str | None = None) -> str:
    return decide(Proposal("a b", agreement, heard=heard), scores, CUTS, min_agreement=0.6, refuted=refuted).decision


def test_what_the_model_hears_itself_scores_best() -> None:
    found = scored(frames("ab- -ba"), "Ab BA!")
    assert found.model_dump() == pytest.approx({"margin": 0.0, "worst_word": np.log(0.7), "worst_gap": 0.0, "cer": 0.0})


def test_a_word_left_out_costs_margin_and_opens_a_gap() -> None:
    found = scored(frames("ab ba"), "ab")
    assert found.margin == pytest.approx(2 * np.log(0.1 / 0.7) / 5)
    assert found.worst_word == pytest.approx(np.log(0.7))
    assert found.worst_gap == pytest.approx(2 * np.log(0.1 / 0.7))
    assert found.cer == pytest.approx(3 / 2)


def test_a_word_put_in_has_letters_that_are_not_heard() -> None:
    found = scored(frames("ab--"), "ab a")
    assert found.margin == pytest.approx(2 * np.log(0.1 / 0.7) / 4)
    assert found.worst_word == pytest.approx(np.log(0.1))
    assert found.worst_gap == pytest.approx(0.0)
    assert found.cer == pytest.approx(2 / 4)


def test_a_wrong_letter_is_averaged_over_its_word_alone() -> None:
    assert scored(frames("ab a-b"), "ab aa").worst_word == pytest.approx((np.log(0.7) + np.log(0.1)) / 2)


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [("", "empty", "found none"), (" ?! ", "empty", "found none"), ("ab 5", "unspellable", "'5'"), ("aa bb", "infeasible", "need 7")],
)
def test_a_text_that_cannot_be_spoken_in_the_clip_says_why(text: str, reason: str, detail: str) -> None:
    found = score(frames("ab ba"), text, VOCABULARY)
    assert isinstance(found, Unalignable)
    assert found.reason == reason
    assert detail in found.detail
    assert verdict(found) == "rejected"


def trusted(
    margin: tuple[float, float, float], worst_word: tuple[float, float, float], worst_gap: tuple[float, float, float]
) -> list[AcousticScores]:
    """Return 21 clips: in each score the lowest, the second lowest (the 5% quantile of 21) and 19 alike."""
    columns = zip(*([low, second, *[usual] * 19] for low, second, usual in (margin, worst_word, worst_gap)), strict=True)
    return [AcousticScores(margin=m, worst_word=w, worst_gap=g, cer=0.1) for m, w, g in columns]


def test_bounds_are_quantiles_of_trusted_clips_within_the_fixed_ones() -> None:
    found = thresholds(trusted((-3.0, -0.6, -0.2), (-20.0, -8.0, -2.0), (-30.0, -20.0, -4.0)))
    assert list(found.accept) == pytest.approx([-0.6, -8.0, REVIEW.worst_gap])
    assert list(found.review) == pytest.approx([REVIEW.margin, -14.0, -36.0])
    assert found.source == "5% quantiles of 21 trusted clips"


def test_a_model_that_hears_nearly_all_trusted_clips_right_does_not_make_the_bounds_stricter() -> None:
    found = thresholds(trusted((-0.3, 0.0, 0.0), (-2.0, -0.01, -0.001), (-1.0, 0.0, 0.0)))
    assert (found.accept, found.review) == (ACCEPT, REVIEW)


def test_fewer_than_twenty_trusted_clips_are_not_believed() -> None:
    clips = trusted((-3.0, -0.6, -0.2), (-20.0, -8.0, -2.0), (-30.0, -20.0, -4.0))
    assert thresholds(clips[:19]) == Thresholds(ACCEPT, REVIEW, "fixed bounds: expected 20 trusted clips or more, found 19")
    assert thresholds(clips[:20]).source == "5% quantiles of 20 trusted clips"


def test_clips_chosen_because_they_were_heard_right_are_not_believed() -> None:
    clips = [fine(margin=0.0, worst_gap=0.0, worst_word=-7.0, cer=0.0)] * 50
    assert thresholds(clips) == Thresholds(ACCEPT, REVIEW, "fixed bounds: the base model heard all 50 trusted clips right")


@pytest.mark.parametrize(
    ("scores", "agreed", "split"),
    [
        (FINE, "accepted", "review"),
        (fine(margin=-0.6), "review", "rejected"),
        (fine(worst_word=-5.0), "review", "rejected"),
        (fine(worst_gap=-7.0), "review", "rejected"),
        (fine(cer=0.71), "review", "rejected"),
        (fine(margin=-1.6), "rejected", "rejected"),
        (fine(worst_word=-9.5), "rejected", "rejected"),
        (fine(worst_gap=-13.0), "rejected", "rejected"),
        (fine(margin=-0.5, worst_word=-4.0, worst_gap=-6.0, cer=0.7), "accepted", "review"),
    ],
)
def test_sound_and_samples_decide_together(scores: AcousticScores, agreed: str, split: str) -> None:
    assert verdict(scores, agreement=0.6) == agreed
    assert verdict(scores, agreement=0.59) == split


def test_the_models_own_transcript_from_who_did_not_hear_it_needs_sure_words() -> None:
    unsure, sure = fine(margin=0.0, worst_word=-0.2, cer=0.0), fine(margin=0.0, worst_word=-0.05, cer=0.0)
    assert [verdict(scores, heard=False) for scores in (unsure, sure)] == ["review", "accepted"]
    assert [verdict(scores, heard=True) for scores in (unsure, sure)] == ["accepted", "accepted"]


def test_a_transcript_that_a_user_called_wrong_is_not_accepted_again() -> None:
    assert verdict(FINE, refuted="A  b.") == "review"
    assert verdict(FINE, agreement=0.5, refuted="a b") == "rejected"
    assert verdict(FINE, refuted="a a") == "accepted"


def test_a_verdict_names_the_scores_that_failed() -> None:
    reason = decide(Proposal("a", 1.0, heard=True), fine(margin=-0.61, worst_gap=-7.0), CUTS, min_agreement=0.6).reason
    assert reason == "not borne out by the sound: margin -0.61 below -0.50, worst_gap -7.00 below -6.00"


def test_a_trained_model_bears_out_what_was_said_and_not_a_made_up_ending() -> None:
    pytest.importorskip("espeakng_loader", reason="the extra `local` is not installed")
    from infra.local.baseline import MODEL_DIR
    from infra.local.baseline.evaluation import make_test_set
    from infra.local.corpus import Domain, callers
    from trainer.recogniser import Recogniser

    recogniser = Recogniser.load(MODEL_DIR, "cpu")
    clips = make_test_set(Domain.CLEAN, callers(12), 12, seed=1)
    logits, lengths = recogniser.logits(recogniser.features([clip.audio for clip in clips]))
    log_probs = [row[:length].numpy() for row, length in zip(torch.log_softmax(logits, dim=-1), lengths, strict=True)]

    def decisions(suffix: str) -> list[str]:
        texts = [clip.text + suffix for clip in clips]
        scores = [score(row, text, recogniser.model.vocabulary) for row, text in zip(log_probs, texts, strict=True)]
        proposals = [Proposal(text, 1.0, heard=True) for text in texts]
        pairs = zip(proposals, scores, strict=True)
        return [decide(proposal, found, thresholds([]), min_agreement=0.6).decision for proposal, found in pairs]

    right, made_up = decisions(""), decisions(" thank you")
    assert right.count("accepted") >= 10
    assert "rejected" not in right
    assert set(made_up) == {"rejected"}
