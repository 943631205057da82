"""The books balance after the local stack has burned: processes that are killed, sockets that are cut, clients of Google's."""

import http.client
import random
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from infra.processes import ROOT, environment
from tests.chaos.fire.acts import ACTS, LEADING, UNTIL_KILLED, UNTIL_PUBLISHED
from tests.chaos.fire.defects import DEFECTS
from tests.chaos.fire.machines import FATES as INSERTS
from tests.chaos.fire.machines import HARMS
from tests.chaos.fire.proxy import HttpProxy
from tests.chaos.fire.schedule import PUBSUB, STORE, Act, Plan, generate
from tests.chaos.fire.weather import FATES, KILL_BEFORE, SUFFERERS, Trouble, Weather
from tests.chaos.schedule import ACTORS, POLICIES
from tests.gcs_proxy import CUT, PASS, REFUSED

SEED = 6
SECONDS = 9


def command(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run what `make chaos` runs, in a process of its own: there the stack's threads and sockets end with it."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=280, check=False
    )


def test_the_books_balance_after_the_stack_has_burned(tmp_path: Path) -> None:
    done = command("-m", "tests.chaos.fire", "--seed", str(SEED), "--seconds", str(SECONDS), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seed {SEED}, policy 'everything by itself': burned {SECONDS} s" in done.stdout
    assert "pubsub " in done.stdout.partition("killed: ")[2]


@pytest.mark.parametrize("number", [0, 1])
def test_planted_defects_are_found_with_seed_and_timeline(number: int, tmp_path: Path) -> None:
    plan = with_defects()[number]
    done = command("-m", "tests.chaos.test_fire", str(tmp_path / "stack"), str(number), folder=ROOT)
    assert done.returncode == 1, done.stdout + done.stderr
    for name in plan.defects:
        assert f"  {DEFECTS[name].found_by.replace('_', ' ')}: " in done.stdout, f"{name} was not found:\n{done.stdout}"
    assert f"again: python -m tests.chaos.fire --seed {plan.seed} --seconds {plan.seconds:g} --defect" in done.stdout
    if number == 0:
        assert "! collector was killed" in done.stdout
        assert ": canary v7, stable v0, canary 7" in done.stdout


def test_every_defect_is_led_to_where_it_does_harm() -> None:
    assert sorted(name for plan in with_defects() for name in plan.defects) == sorted(DEFECTS)


def with_defects() -> tuple[Plan, Plan]:
    """Return plans that lead each planted defect to where it does harm: what the one hides, such as who lost a report, is shown by the other."""
    forced = Act("type", text='finetune-triggers {"force": true}')
    hasty = [
        Act("report", 12),
        Act("forge", 7, at_s=0.1),
        *(Act(forced.kind, text=forced.text, at_s=0.5 + 0.2 * number) for number in range(14)),
        Act("trouble", troubles=tuple(Trouble("collector", "store", KILL_BEFORE) for _ in range(3)), at_s=3.4),
        Act("report", 4, at_s=3.5),
        Act(UNTIL_KILLED, text="collector", at_s=3.6),
    ]
    known = [Act("report", 12), Act(forced.kind, text=forced.text, at_s=0.5), Act("report", 4, at_s=2.0)]
    known += [  # four reports that Pub/Sub holds, and nobody else, when it dies
        Act("trouble", troubles=(Trouble("collector", "push", REFUSED, seconds=60.0),), at_s=2.6),
        Act("report", 4, at_s=2.6),
        Act(UNTIL_PUBLISHED, at_s=2.6),
        Act("kill", text=PUBSUB, at_s=2.6),
        Act(UNTIL_KILLED, text=PUBSUB, at_s=2.6),
    ]
    first = ("collector acknowledges before the write", "deployer skips verification", "launcher ignores the running cycle")
    second = ("collector does not look at the head again", "sweeper ends no machines", "Pub/Sub answers before the commit")
    return (
        Plan(1, "with a canary", 4, tuple(hasty), first, rounds=3),
        Plan(2, "everything by itself", 3, tuple(known), second, rounds=3, stays=1.0),
    )


# the plan, by itself


def test_a_seed_gives_the_same_plan_again() -> None:
    assert generate(3, 30) == generate(3, 30)
    assert generate(3, 30) != generate(4, 30)


def test_every_act_and_every_fault_is_drawn() -> None:
    plans = [generate(seed, 180) for seed in range(3)]
    acts = [act for plan in plans for act in plan.acts]
    assert {act.kind for act in acts} == set(ACTS) - LEADING
    troubles = {(trouble.link, trouble.fate) for act in acts if act.kind == "trouble" for trouble in act.troubles}
    assert troubles == {(link, fate) for link, fates in FATES.items() for fate in fates}
    assert {act.text for act in acts if act.kind == "kill"} == {*SUFFERERS["push"], STORE, PUBSUB}
    assert {act.text for act in acts if act.kind == "partition"} == set(ACTORS)
    assert {act.text for act in acts if act.kind == "machine"} == set(HARMS)
    assert {act.text for act in acts if act.kind == "inserts"} == set(INSERTS)
    assert {generate(seed, 1).policy for seed in range(40)} == set(POLICIES)


def test_a_partition_cuts_one_process_off_from_everything_that_it_writes_to() -> None:
    partitions = [act for act in generate(1, 180).acts if act.kind == "partition"]
    for act in partitions:
        assert {trouble.actor for trouble in act.troubles} == {act.text}
        assert {trouble.link for trouble in act.troubles} == {
            link for link, actors in SUFFERERS.items() if act.text in actors and link != "push"
        }


# the weather, by itself


def weather() -> tuple[Weather, list[str]]:
    killed: list[str] = []
    return Weather(random.Random(1), killed.append), killed


def test_a_trouble_strikes_its_actor_on_its_link_alone() -> None:
    made, _ = weather()
    made.bring(Trouble("collector", "store", CUT, seconds=1000))
    assert made.fate("collector", "store", writes=True) == CUT
    assert made.fate("collector", "bus", writes=True) == made.fate("launcher", "store", writes=True) == PASS
    assert made.struck == {("store", CUT): 1}


def test_a_trouble_strikes_its_share_of_the_calls_until_it_is_over() -> None:
    made, _ = weather()
    made.bring(Trouble("collector", "store", "503", 0.3, seconds=1000))
    fates = [made.fate("collector", "store", writes=False) for _ in range(1000)]
    assert 250 < fates.count("503") < 350
    made.heal()
    assert made.fate("collector", "store", writes=False) == PASS
    made.bring(Trouble("collector", "store", "503", seconds=0.0))
    assert made.fate("collector", "store", writes=False) == PASS


def test_a_process_dies_once_before_a_write_and_not_at_a_read() -> None:
    made, killed = weather()
    made.bring(Trouble("collector", "store", KILL_BEFORE, seconds=0.0))
    assert made.fate("collector", "store", writes=False) == PASS
    assert not killed
    assert made.fate("collector", "store", writes=True) == REFUSED
    assert made.fate("collector", "store", writes=True) == PASS
    assert killed == ["collector"]


# the proxy, by itself


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
def test_nobody_waits_for_a_server_that_died_while_it_answered(said: bytes) -> None:
    made, _ = weather()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def die() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(said)

        dying = threading.Thread(target=die)
        dying.start()
        proxy = HttpProxy("collector", "push", made, f"http://127.0.0.1:{server.getsockname()[1]}")
        with closing(proxy), closing(http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=20)) as client:
            client.request("GET", "/")
            with pytest.raises((http.client.RemoteDisconnected, http.client.IncompleteRead)):
                client.getresponse().read()
        dying.join()


if __name__ == "__main__":
    from tests.chaos.fire.__main__ import report
    from tests.chaos.fire.run import burn

    sys.exit(report(burn(with_defects()[int(sys.argv[2])], Path(sys.argv[1])), took_s=0.0, timeline=False))
