"""The simulation of the gate, small: what its columns say of a model that is no better and of one that is."""

from shared.testing.two_models import Traffic
from tests.benchmarks.false_deploy import deploy_rates


def test_where_few_speakers_hang_together_the_gate_holds_and_estimate_and_utterance_bootstrap_do_not() -> None:
    traffic = Traffic(speakers=10, utterances=60, redrawn=0.3, report_rate=0.0, sample_rate=1.0, interaction=0.3)
    rates = deploy_rates(traffic, trials=60, seed=1)
    # nominal 5% is 3 of 60; 8 or more come by chance once in 100
    assert rates.gate <= 7 / 60
    assert rates.utterance_bootstrap > 10 / 60
    assert rates.point_estimate > 20 / 60
    assert (rates.utterances, rates.clusters) == (600, 10)
    assert rates.errors_alone == 0.0  # nothing was reported: no test


def test_a_gain_above_what_the_power_calculation_asks_for_is_mostly_shown() -> None:
    rates = deploy_rates(Traffic(20, 30, redrawn=0.1, report_rate=0.3, sample_rate=0.2, fixed=0.3), trials=40, seed=2)
    assert rates.gain > rates.smallest_gain
    assert rates.gate >= 0.75
