"""The pure parts of a simulation: what training is modelled to do, what is said and heard, which policies are compared."""

from pathlib import Path

import numpy as np
import pytest

from infra.errors import Refused
from infra.simulate.assumptions import Assumptions, parse_assumptions, stated
from infra.simulate.learning import Earlier, Work, fit_half_clips, fit_speed, mended, remaining, replay_clips, run_seconds
from infra.simulate.outcome import HeldLog, kind_of
from infra.simulate.policies import AS_IT_IS, changed, policies
from infra.simulate.run import look_again_s
from infra.simulate.speech import MISHEARD, RIGHT, Modelled, Speech, Utterances, uniform
from shared.policy import Policy
from shared.training import TrainingConfig

# what training does, and how long it takes


def test_half_the_curable_errors_are_cured_after_half_clips() -> None:
    assert remaining(0, 0.5, 300) == 1.0
    assert remaining(300, 0.5, 300) == 0.75
    assert remaining(2700, 0.5, 300) == pytest.approx(0.55)


def test_a_candidate_mends_what_its_base_has_left() -> None:
    assumed = Assumptions(curable=0.5, half_clips=300)
    assert mended(0, 300, assumed) == 0.25
    assert mended(300, 2700, assumed) == pytest.approx(1 - 0.55 / 0.75)
    assert mended(300, 300, assumed) == 0.0


def test_a_run_trains_each_epoch_and_hears_with_both_models() -> None:
    assumed = Assumptions(train_rtf=0.02, transcribe_rtf=0.01)
    work = Work(train_s=1000, dev_s=200, heard_s=3000, epochs=10)
    assert run_seconds(work, assumed, TrainingConfig()) == 10 * (20 + 2) + 2 * 30
    assert run_seconds(work, assumed, TrainingConfig(max_train_s=100)) == 100 + 60
    assert run_seconds(work, assumed.model_copy(update={"epochs_run": 0.5}), TrainingConfig()) == 110 + 60


def test_replay_is_mixed_in_as_far_as_there_is_any() -> None:
    config = TrainingConfig(replay_ratio=2.0)
    assert (replay_clips(100, 500, config), replay_clips(100, 50, config)) == (200, 50)


def test_the_curve_is_found_again_in_the_cycles_that_it_made() -> None:
    def cycle(before: int, learned: int) -> Earlier:
        return Earlier(before, learned, remaining(learned, 0.5, 150) / remaining(before, 0.5, 150), 500)

    fitted = fit_half_clips([cycle(0, 80), cycle(80, 200), cycle(200, 900)], 0.5)
    assert fitted == pytest.approx(150, rel=0.03)
    assert fit_half_clips([Earlier(10, 10, 0.9, 500)], 0.5) is None


def test_the_speed_is_the_median_of_what_runs_took() -> None:
    assumed, config = Assumptions(), TrainingConfig()
    work = Work(train_s=1000, dev_s=0, heard_s=0, epochs=10)
    runs = [Earlier(0, 9, 1.0, 9, run_s=took, work=work) for took in (100.0, 400.0, 1000.0)]
    assert fit_speed(runs, assumed, config) == 2.0
    assert fit_speed([Earlier(0, 9, 1.0, 9)], assumed, config) is None


# what is said and heard


def speech(seed: int = 1) -> Speech:
    made = Speech(Utterances(words=np.full(4000, 5), chance=np.full(4000, 0.2)), 0.1, seed)
    made.add(Modelled(1, base=0, learned=300, level=0.75, mended=0.25))
    return made


ALL = np.arange(4000)


def test_a_version_errs_as_often_as_it_is_modelled() -> None:
    made = speech()
    assert made.errors(0, ALL).sum() / 20_000 == pytest.approx(0.2, abs=0.01)
    assert made.errors(1, ALL).sum() / 20_000 == pytest.approx(0.15, abs=0.01)


def test_an_utterance_is_heard_the_same_alone_as_among_others() -> None:
    made = speech()
    alone = [int(made.errors(1, np.asarray([row]))[0]) for row in range(50)]
    assert alone == made.errors(1, ALL)[:50].tolist()
    assert made.heard(1, list(range(50))) == [made.heard(1, [row])[0] for row in range(50)]


def test_a_hypothesis_differs_from_what_was_said_in_the_wrong_words_alone() -> None:
    made = speech()
    assert not set(RIGHT) & set(MISHEARD)
    for row, count in zip(range(100), made.errors(0, ALL[:100]).tolist(), strict=True):
        said, heard = made.said(row).split(), made.heard(0, [row])[0].split()
        assert sum(a != b for a, b in zip(said, heard, strict=True)) == count


def test_another_seed_draws_other_errors() -> None:
    assert speech(1).errors(0, ALL).tolist() != speech(2).errors(0, ALL).tolist()


def test_what_a_record_tells_is_what_the_first_model_heard() -> None:
    said = Utterances(np.asarray([3, 2]), np.full(2, 0.1), {0: ("a", "b", "c"), 1: ("d", "e")}, {0: 2, 1: 0})
    made = Speech(said, 0.0, 0)
    assert made.errors(0, np.arange(2)).tolist() == [2, 0]
    assert (made.said(0), made.heard(0, [1])) == ("a b c", ["d e"])


def test_draws_are_even() -> None:
    draws = uniform(7, np.arange(100_000).astype(np.uint64))
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.histogram(draws, 10, (0, 1))[0] == pytest.approx(10_000, rel=0.04)


# which policies are compared


def test_a_change_is_made_to_the_present_policy_inside_it_too() -> None:
    made = policies(Policy(cooldown_s=5), [], ["min_error_cases=50", 'canary.percent=10,validation.critical_terms=["a","b"]'])
    assert [name for name, _ in made] == [AS_IT_IS, "min_error_cases=50", 'canary.percent=10,validation.critical_terms=["a","b"]']
    assert (made[1][1].min_error_cases, made[1][1].cooldown_s) == (50, 5)
    assert (made[2][1].canary.percent, made[2][1].validation.critical_terms) == (10, ("a", "b"))


def test_files_stand_in_for_the_present_policy(tmp_path: Path) -> None:
    small, large = tmp_path / "small.json", tmp_path / "large.json"
    small.write_text('{"min_error_cases": 10}')
    large.write_text('{"min_error_cases": 1000}')
    made = policies(Policy(), [small, large], ["cooldown_s=0"])
    assert [(name, policy.min_error_cases) for name, policy in made] == [("small", 10), ("large", 1000), ("cooldown_s=0", 10)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("min_errors=5", "--set min_errors: expected in the policy one of auto_approve_finetuning, auto_deploy, "),
        ("canary.percents=5", "--set canary.percents: expected in canary one of alpha, "),
        ("cooldown_s.x=5", "--set cooldown_s.x: expected in cooldown_s a value, which has no keys, found 'x'"),
        ("min_error_cases=many", "--set min_error_cases=many: min_error_cases: Input should be a valid integer"),
        ("min_error_cases=0", "--set min_error_cases=0: min_error_cases: Input should be greater than or equal to 1, found '0'"),
        ("min_error_cases", "--set min_error_cases: expected KEY=VALUE"),
    ],
)
def test_a_change_that_is_none_is_refused(change: str, expected: str) -> None:
    with pytest.raises(Refused) as refusal:
        changed(Policy(), change)
    assert str(refusal.value).startswith(expected)


def test_a_file_that_is_no_policy_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    with pytest.raises(Refused, match="expected a file with a JSON object, found No such file"):
        policies(Policy(), [path], [])
    path.write_text('{"min_errors": 5}')
    with pytest.raises(Refused, match=r"p\.json: min_errors: expected one of .*min_error_cases.*, found an unknown key"):
        policies(Policy(), [path], [])
    path.write_text("{}")
    with pytest.raises(Refused, match="expected each name once, found 'p' twice"):
        policies(Policy(), [path, path], [])


# what is assumed


def test_every_assumption_is_stated_with_where_it_is_from() -> None:
    made, given = parse_assumptions(["wer=0.2"], {"half_clips": 120.0, "wer": 0.1})
    lines = {item.name: item for item in stated(made, given, {"half_clips": "3 cycles", "wer": "3 cycles"})}
    assert lines.keys() == set(Assumptions.model_fields)
    assert all(item.meaning for item in lines.values())
    assert (lines["wer"].value, lines["wer"].origin, lines["wer"].basis) == (0.2, "given", "")
    assert (lines["half_clips"].value, lines["half_clips"].origin, lines["half_clips"].basis) == (120.0, "measured", "3 cycles")
    assert lines["speakers"].origin == "assumed"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("wers=0.2", "--assume wers: expected one of approve_after_h, "),
        ("wer=2", "--assume wer: Input should be less than 0.9, found '2'"),
        ("wer", "--assume: expected NAME=VALUE, found 'wer'"),
    ],
)
def test_an_assumption_that_is_none_is_refused(said: str, expected: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_assumptions([said], {})
    assert str(refusal.value).startswith(expected)


# what held a cycle


def test_a_reason_whose_numbers_change_is_one_reason() -> None:
    assert kind_of("7 speakers, at least 10 wanted") == kind_of("9 speakers, at least 10 wanted")
    log = HeldLog()
    log.note(1, ["7 speakers, at least 10 wanted"], 1.0)
    log.note(1, ["9 speakers, at least 10 wanted", "cooldown until 2026-01-05T10:00:00+00:00"], 2.5)
    assert [(held.reason, held.since_h, held.until_h) for held in log.of(1)] == [
        ("9 speakers, at least 10 wanted", 1.0, 2.5),
        ("cooldown until 2026-01-05T10:00:00+00:00", 2.5, 2.5),
    ]
    assert log.of(2) == ()


def test_a_refusal_stands_longer_the_longer_a_cycle_has_collected() -> None:
    policy = Policy(decline_backoff_s=300)
    assert look_again_s(policy, 0, 0.15) == 300
    assert look_again_s(policy, 100_000, 0.15) == 15_000
