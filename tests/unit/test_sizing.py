"""What the next holdout can show, by hand-worked numbers."""

from math import sqrt

import pytest

from shared.sizing import PRIOR_WER, Measured, size_next
from shared.wer_power import PRIOR_RHO, Holdout

ALPHA, SHARE = 0.05, 0.2


def seen(sd_d: float = 0.1, wer: float = 0.2, utterances: int = 400, clusters: int = 400) -> Measured:
    return Measured(sd_d=sd_d, utterances=utterances, clusters=clusters, wer=wer)


def test_the_smallest_gain_follows_from_the_spread_the_size_and_the_wer() -> None:
    # 400 speakers of one utterance: no design effect; one more usual speaker, t(0.95, 399) = 1.6487 and t(0.8, 399) = 0.8427:
    # (0.6745 + 1.6487 sqrt(400 + 0.4550) + 0.8427 * 20) / 20 = 2.5260; 2.5260 * 0.1 / sqrt(400) = 0.012630 of a WER of 0.2: 6.31%
    sizing = size_next(Holdout(400, 400), [seen(), seen()], 0.25, ALPHA, SHARE)
    assert sizing is not None
    assert sizing.detectable_gain == pytest.approx(0.0631, abs=2e-4)
    assert (sizing.enough, sizing.further_utterances, sizing.measured, sizing.binding) == (True, 0, 2, True)


def test_too_small_a_holdout_tells_how_many_more_it_takes_and_how_many_must_be_collected_for_them() -> None:
    # wanted 0.25 * 0.04 = 0.01: (c * 0.1 / 0.01)^2 = G with c = (0.6745 + 1.6473 sqrt(G + 0.4550) + 0.8422 sqrt(G)) / sqrt(G): G = 634
    sizing = size_next(Holdout(100, 100), [seen(wer=0.04), seen(wer=0.04)], 0.25, ALPHA, SHARE)
    assert sizing is not None
    assert not sizing.enough
    assert sizing.further_utterances == pytest.approx(534, abs=1)
    assert f"it takes {sizing.further_utterances} further utterances" in sizing.text
    assert f"about {5 * sizing.further_utterances} of all that is collected" in sizing.text
    assert sizing.text.endswith("by the spread of 2 earlier cycles, at a WER of 4.0%")


def test_before_the_first_measurement_the_prior_is_named_and_does_not_bind() -> None:
    sizing = size_next(Holdout(20, 10), [], 0.25, ALPHA, SHARE)
    assert sizing is not None
    assert (sizing.measured, sizing.binding) == (0, False)
    assert sizing.text.endswith(f"by the stated prior of the spread, at a WER of {PRIOR_WER:.1%}")


def test_one_measured_cycle_is_advice_and_its_design_effect_is_taken_out() -> None:
    # ten utterances a speaker: sd^2 = 0.1^2 / (1 + 9 rho); on lone utterances the gain is smaller by the root of that
    effect = 1 + 9 * PRIOR_RHO
    clustered = size_next(Holdout(400, 400), [seen(utterances=4000)], 0.25, ALPHA, SHARE)
    assert clustered is not None
    assert not clustered.binding
    assert clustered.detectable_gain == pytest.approx(0.0631 / sqrt(effect), abs=2e-4)


def test_the_wer_is_that_of_the_newest_measurement() -> None:
    newest_first = size_next(Holdout(400, 400), [seen(wer=0.1), seen(wer=0.2)], 0.25, ALPHA, SHARE)
    assert newest_first is not None
    assert newest_first.detectable_gain == pytest.approx(2 * 0.0631, abs=4e-4)


def test_an_empty_holdout_shows_nothing_and_a_model_without_errors_has_nothing_to_gain() -> None:
    empty = size_next(Holdout(0, 0), [seen(), seen()], 0.25, ALPHA, SHARE)
    assert empty is not None
    assert (empty.enough, empty.detectable_gain) == (False, None)
    assert size_next(Holdout(400, 400), [seen(wer=0.0)], 0.25, ALPHA, SHARE) is None
