"""`retune simulate` through the command line, on the functions' own code."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import infra.cli
from infra.simulate.assumptions import Assumptions
from infra.simulate.calls import ModelledCalls, Serving
from infra.simulate.learning import SMALLEST_HALF
from infra.simulate.measured import fit
from infra.simulate.recorded import RecordedCalls, read_bucket
from infra.simulate.speech import Modelled
from infra.simulate.world import World as Simulated
from shared import keys
from shared.cas import find
from shared.dir_store import DirStore
from shared.documents import parse_document
from shared.events import SttError, SttSample, SttTraffic
from shared.policy import Policy
from shared.testing import builders
from shared.testing.clock import START, FakeClock
from shared.training import TrainingResult, TrainingSpec
from shared.verdict import parse_report
from tests.world import World, trained_world

Retune = Callable[..., Result]
QUICK = (
    "--errors-per-hour",
    "40",
    "--assume",
    "sample_rate=0.1",
    "--assume",
    "curable=0.9",
    "--assume",
    "half_clips=40",
    "--assume",
    "redrawn=0.02",
)


@pytest.fixture
def retune(monkeypatch: pytest.MonkeyPatch) -> Retune:
    monkeypatch.delenv("RETUNE_POLICY", raising=False)
    return lambda *arguments: CliRunner().invoke(infra.cli.app, ["simulate", *map(str, arguments)])


def policy_file(folder: Path, name: str = "p", **policy: Any) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(policy))
    return path


BASE: dict[str, Any] = {"auto_approve_finetuning": True, "auto_deploy": True, "min_error_cases": 300, "min_corrected_cases": 100_000}


def test_policies_stand_side_by_side_with_everything_that_was_assumed(retune: Retune, tmp_path: Path) -> None:
    arguments = ("--days", 0.6, *QUICK, "--policy", policy_file(tmp_path, **BASE), "--set", "min_error_cases=5000", "--usd-per-gpu-hour", 2)
    answered = retune(*arguments, "--json")
    assert answered.exit_code == 0, answered.output
    found = json.loads(answered.stdout)
    wanted, patient = found["outcomes"]
    assert [wanted["name"], patient["name"]] == ["p", "min_error_cases=5000"]
    assert patient["cycles"] == []
    assert patient["wer_end"] == 0.146
    first = wanted["cycles"][0]
    assert first["triggered_by"].startswith("300 errors, at least 300 wanted") or " errors, at least 300 wanted" in first["triggered_by"]
    assert first["status"] == "deployed", first["reason"]
    assert wanted["first_better_h"] == pytest.approx(first["ended_h"], abs=0.5)
    assert wanted["wer_end"] < 0.146
    assert first["wer_after"] < first["wer_before"] == 0.146
    assert wanted["gpu_hours"] == pytest.approx(sum(cycle["gpu_hours"] for cycle in wanted["cycles"]))
    assert wanted["gpu_hours"] > 0
    assert wanted["usd"] == pytest.approx(2 * wanted["gpu_hours"])
    assert patient["errors"] > wanted["errors"]
    stated = {item["name"]: item for item in found["assumptions"]}
    assert (stated["errors_per_hour"]["origin"], stated["curable"]["origin"], stated["train_rtf"]["origin"]) == (
        "given",
        "given",
        "assumed",
    )
    assert not any(item["origin"] == "measured" for item in found["assumptions"])


def test_the_same_seed_tells_the_same_story_and_another_one_another(retune: Retune, tmp_path: Path) -> None:
    short = ("--days", 0.2, *QUICK, "--policy", policy_file(tmp_path, **BASE), "--json")
    first, again, other = (retune(*short, "--seed", seed).stdout for seed in (3, 3, 4))
    assert first == again
    assert json.loads(first)["outcomes"][0]["errors"] != json.loads(other)["outcomes"][0]["errors"]


def test_the_text_says_that_nothing_was_measured_and_what_holds_a_cycle(retune: Retune, tmp_path: Path) -> None:
    policy = policy_file(tmp_path, "eager", **BASE | {"min_error_cases": 20, "min_speakers": 299})
    answered = retune("--days", 0.25, *QUICK, "--policy", policy)
    assert answered.exit_code == 0, answered.output
    assert "Simulated, not measured: 0.25 days, calls made up at 40 reported errors an hour, seed 0" in answered.stdout
    assert "no cycle was opened" in answered.stdout
    assert "speakers, at least 299 wanted" in answered.stdout
    assert re.search(r"assumed +train_rtf +0\.02 +machine seconds", answered.stdout)
    assert "eager: day 0.2 of 0.25" in answered.stderr
    assert '"severity"' not in answered.output


def test_where_the_policy_asks_a_person_one_answers_later(retune: Retune, tmp_path: Path) -> None:
    policy = policy_file(tmp_path, **BASE | {"auto_approve_finetuning": False, "auto_deploy": False})
    days = ("--days", 0.7, "--assume", "approve_after_h=2", "--assume", "promote_after_h=3")
    found = json.loads(retune(*days, *QUICK, "--policy", policy, "--json").stdout)["outcomes"][0]
    first = found["cycles"][0]
    assert first["status"] == "deployed", first["reason"]
    assert first["ended_h"] - first["opened_h"] >= 5


def test_a_preempted_machine_is_followed_by_another_attempt(retune: Retune, tmp_path: Path) -> None:
    policy = policy_file(tmp_path, **BASE | {"max_attempts": 20})
    hard = ("--assume", "preemptions_per_h=1.5", "--assume", "train_rtf=0.6")
    found = json.loads(retune("--days", 1.0, *QUICK, *hard, "--policy", policy, "--json").stdout)["outcomes"][0]
    assert max(cycle["attempts"] for cycle in found["cycles"]) > 1
    assert found["gpu_hours"] > 1


# recorded


def recorded(path: Path) -> Path:
    """Errors of three days: every caller wrong by a word or two."""
    lines = []
    for number in range(400):
        at = START.replace(hour=0) + timedelta(seconds=number * 600)
        said = f"please call number {chr(97 + number % 26)} back today"
        event = builders.error(number, at=at, reference=said, hypothesis=said.replace("back", "pack"), speaker_id=f"s{number % 90}")
        lines.append(event.model_dump_json(exclude_none=True))
        heard = builders.sample(number + 1000, at=at, hypothesis="thank you very much", reference="thank you very much", sample_rate=1.0)
        lines.append(heard.model_copy(update={"speaker_id": f"s{number % 90}"}).model_dump_json(exclude_none=True))
    path.write_text("\n".join(lines))
    return path


def test_a_recorded_history_comes_again_until_a_model_hears_it(retune: Retune, tmp_path: Path) -> None:
    history = recorded(tmp_path / "events.jsonl")
    policy = policy_file(tmp_path, **BASE | {"min_error_cases": 100})
    settings = ("--assume", "redrawn=0", "--assume", "curable=0.95", "--assume", "half_clips=5")
    answered = retune("--history", history, "--policy", policy, *settings, "--set", "min_error_cases=5000", "--json")
    assert answered.exit_code == 0, answered.output
    found = json.loads(answered.stdout)
    wanted, never = found["outcomes"]
    assert found["source"].startswith("800 events recorded in ")
    assert found["days"] == pytest.approx(399 * 600 / 86_400, abs=0.1)
    assert never["errors"] == 400
    assert wanted["cycles"][0]["status"] == "deployed", wanted["cycles"][0]["reason"]
    assert wanted["errors"] < never["errors"]
    assert "report_rate" not in {item["name"] for item in found["assumptions"]}


def test_a_bucket_gives_back_the_events_that_it_was_told() -> None:
    world = trained_world()
    events = {event.event_id: event for event in read_bucket(world.store)}
    assert {name for name in events if name.startswith("e")} == {f"e{n}" for n in range(60)}
    error, sample = events["e3"], events["p103"]
    assert isinstance(error, SttError)
    assert isinstance(sample, SttSample)
    assert (error.reference, error.audio_uri, error.speaker_id, sample.sample_rate) == ("fall back", "gs://calls/u3.wav", "s3", 1.0)


def test_a_stores_folder_is_played_again_with_its_traffic(retune: Retune, tmp_path: Path) -> None:
    world = trained_world()
    world.publish(builders.traffic(1, 500), builders.traffic(2, 700, version=1))
    world.settle()
    store = DirStore(tmp_path / "bucket")
    for info in world.store.list(""):
        found = world.store.get(info.key)
        store.put(info.key, found.data, metadata=found.info.metadata)
    answered = retune("--history", tmp_path / "bucket", "--policy", policy_file(tmp_path, **BASE), "--json")
    assert answered.exit_code == 0, answered.output
    found = json.loads(answered.stdout)
    assert found["source"].startswith("122 events recorded in ")
    assert (found["outcomes"][0]["errors"], found["outcomes"][0]["samples"], found["outcomes"][0]["refused"]) == (60, 60, 0)


def test_traffic_is_told_of_whatever_serves() -> None:
    events = [builders.error(1), builders.sample(2), builders.traffic(1, 1000)]
    played = RecordedCalls(events, START, Assumptions(), 0)
    again = list(played.reports(START, START + timedelta(seconds=1), Serving(0)))
    assert [(type(event), event.event_id) for event in again[:2]] == [(SttError, "e1"), (SttSample, "p2")]
    played = RecordedCalls(events, START, Assumptions(), 0)
    played.speech.add(Modelled(7, base=0, mended=1.0))
    again = list(played.reports(START, START + timedelta(seconds=1), Serving(0, 7, 0.1)))
    told = [event for event in again if isinstance(event, SttTraffic)]
    assert [(event.model_version, event.utterances) for event in told] == [(0, 900), (7, 100)]
    assert len({event.event_id for event in told}) == 2


def test_the_simulated_trainer_hears_every_set_that_the_spec_asks_it_to() -> None:
    assumed = Assumptions(sample_rate=0.1)
    clock = FakeClock(START)
    world = Simulated(clock, Policy(**BASE), ModelledCalls(START, 1.0, 40.0, assumed, 0), assumed, 0)
    while find(world.store, keys.result(1)) is None:
        since = clock.now()
        assert since < START + timedelta(days=1)
        for event in world.calls.reports(since, clock.advance(1800), world.serving()):
            world.report(event)
        world.settle()
        world.step()
    spec = parse_document(TrainingSpec, world.store.get(keys.spec(1)).data, what="spec")
    result = parse_document(TrainingResult, world.store.get(keys.result(1)).data, what="result")
    heard = {each.name: each.rows for each in result.evaluations}
    assert heard == {each.name: each.clips for each in spec.sets if each.role in {"judge", "recheck"}}
    assert heard.keys() == {keys.HOLDOUT_SET, keys.LEARNING_SET}
    assert result.train["simulated"] is True


# wrong


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("--days", "0"), 2, "--days: expected more than 0, found 0"),
        (("--days", "nan"), 2, "--days: expected more than 0, found nan"),
        (("--errors-per-hour", "-1"), 2, "--errors-per-hour: expected more than 0, found -1"),
        (("--set", "min_errors=5"), 1, "--set min_errors: expected in the policy one of"),
        (("--assume", "wers=1"), 1, "--assume wers: expected one of"),
        (("--policy", "absent.json"), 1, "policy absent.json: expected a file with a JSON object, found No such file or directory"),
        (("--history", "absent"), 1, "--history absent: expected a file of events, a store's folder or gs://bucket, found none of them"),
        (("--measured-from", "absent"), 1, "--measured-from absent: expected a store's folder or gs://bucket, found neither"),
        (("--errors-per-hour", "100000"), 1, "expected at most 20,000,000 calls, found about "),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_anything_is(
    retune: Retune, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    answered = retune(*arguments)
    assert answered.exit_code == code
    assert expected in " ".join(answered.stderr.replace("│", " ").split())


def test_a_record_without_errors_or_with_its_own_rate_is_refused(retune: Retune, tmp_path: Path) -> None:
    history = tmp_path / "h.jsonl"
    history.write_text(builders.traffic(1, 5).model_dump_json())
    assert "expected recorded errors, found none" in retune("--history", history).stderr
    history.write_text("{}")
    assert f"--history {history} line 1: " in retune("--history", history).stderr
    recorded(history)
    assert "a recorded history has its own rate" in retune("--history", history, "--errors-per-hour", 5).stderr
    assert "a recorded history tells that itself" in retune("--history", history, "--assume", "speakers=5").stderr


def test_a_bucket_without_judged_cycles_measures_nothing(retune: Retune, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    answered = retune("--measured-from", tmp_path / "store")
    assert answered.exit_code == 1
    assert "expected cycles that were trained and judged, found none; leave --measured-from out" in answered.stderr


# measured


def test_what_cycles_measured_replaces_the_prior_and_says_so(tmp_path: Path) -> None:
    world = trained_world()
    world.settle()
    fitted = fit(world.store)
    # the trainer of the tests cures everything at once: no half_clips on the grid is small enough
    assert fitted.values["half_clips"] == SMALLEST_HALF
    assert fitted.values["wer"] == pytest.approx(read_wer(world))
    assert fitted.basis["half_clips"] == "fitted to 1 judged cycles of gs://retune-test, taking curable as it is assumed"
    # nobody recorded how long the clips are, so nothing can be said of the speed
    assert "train_rtf" not in fitted.values


def read_wer(world: World) -> float:
    report = parse_report(world.store.get(keys.report(1)).data)
    holdout = next(each for each in report.sets if each.name == keys.HOLDOUT_SET)
    assert holdout.base.wer is not None
    return holdout.base.wer.estimate
