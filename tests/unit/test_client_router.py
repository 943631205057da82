"""The router: only verified models serve, what works goes on serving, sessions keep their model."""

import gc
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from retune_client import ModelRouter, NoModelError
from retune_client.routing import retry_after_s
from retune_client.testing import ManualClock, MemoryModelStore

GIVEN_UP_S = 30.0
"""A wait that ends only when the test has failed."""


class Model:
    def __init__(self, text: str) -> None:
        self.text = text


def load(folder: Path, version: int) -> Model:
    text = (folder / "weights.safetensors").read_text()
    if text == "unloadable":
        raise RuntimeError(f"v{version} does not fit")
    return Model(text)


def store_with(seq: int = 1, stable: int | None = 1, **alias: Any) -> MemoryModelStore:
    store = MemoryModelStore()
    for version in range(1, 6):
        store.put_model(version, {"weights.safetensors": f"weights {version}".encode(), "config.json": b"{}"})
    store.put_production(seq, stable, **alias)
    return store


@contextmanager
def routing(store: MemoryModelStore, folder: Path, **settings: Any) -> Iterator[ModelRouter[Model]]:
    router = ModelRouter(store, folder, settings.pop("load", load), **{"clock": ManualClock(), **settings})
    try:
        yield router
    finally:
        router.close()


def until(router: ModelRouter[Model], fact: Callable[[], bool]) -> None:
    """Wait for a background thread to bring a fact about."""
    with router._cond:
        assert router._cond.wait_for(fact, timeout=GIVEN_UP_S)


def while_time_goes_by(router: ModelRouter[Model], clock: ManualClock, fact: Callable[[], bool]) -> None:
    """Let one poll interval after the other pass until a background thread has brought a fact about."""
    for _ in range(600):
        with router._cond:
            if router._cond.wait_for(fact, timeout=0.05):
                return
        clock.advance(30.0)
    raise AssertionError("it never came about")


def downloads(store: MemoryModelStore, version: int) -> int:
    return store.reads.count(f"models/{version:06d}/weights.safetensors")


def test_the_stable_model_serves_every_session(tmp_path: Path) -> None:
    with routing(store_with(), tmp_path) as router:
        status = router.refresh()
        served = router.choose("anyone")
    assert (served.version, served.model.text) == (1, "weights 1")
    assert (status.seq, status.stable, status.canary, status.wanted, status.problems) == (1, 1, None, (1,), {})
    assert sorted(path.name for path in (tmp_path / "000001").iterdir()) == ["config.json", "manifest.json", "weights.safetensors"]


def test_before_the_first_model_choosing_says_why_there_is_none(tmp_path: Path) -> None:
    with routing(MemoryModelStore(), tmp_path) as router:
        assert "registry/production.json" in router.refresh().problems["alias"]
        with pytest.raises(NoModelError, match=r"registry/production\.json: expected an object, found none"):
            router.choose("anyone")


def test_a_model_of_a_wrong_digest_is_refused_and_the_old_one_goes_on_serving_until_it_is_mended(tmp_path: Path) -> None:
    store = store_with()
    with routing(store, tmp_path) as router:
        router.refresh()
        store.put_production(2, 2)
        store.objects["models/000002/weights.safetensors"] = b"Weights 2"  # the same size
        status = router.refresh()
        assert router.choose("anyone").version == 1
        assert (status.seq, status.stable, status.wanted) == (2, 1, (2,))
        assert "weights.safetensors: expected sha256" in status.problems["v2"]
        assert not (tmp_path / "000002").exists()
        store.objects["models/000002/weights.safetensors"] = b"weights 2"
        assert router.refresh().problems == {}
        assert router.choose("anyone").model.text == "weights 2"


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda objects: objects.update({"models/000002/weights.safetensors": b"short"}), "expected 9 bytes, found 5"),
        (lambda objects: objects.pop("models/000002/config.json"), "models/000002/config.json: expected an object, found none"),
        (lambda objects: objects.pop("models/000002/manifest.json"), "models/000002/manifest.json: expected an object, found none"),
        (
            lambda objects: objects.update({"models/000002/manifest.json": objects["models/000001/manifest.json"]}),
            "expected v 1, version 2",
        ),
        (lambda objects: objects.update({"models/000002/manifest.json": b"<html>"}), "expected JSON"),
    ],
)
def test_an_incomplete_or_foreign_model_is_refused(tmp_path: Path, spoil: Callable[[dict[str, bytes]], object], problem: str) -> None:
    store = store_with()
    with routing(store, tmp_path) as router:
        router.refresh()
        store.put_production(2, 2)
        spoil(store.objects)
        assert problem in router.refresh().problems["v2"]
        assert router.choose("anyone").version == 1
        assert [path.name for path in tmp_path.iterdir()] == ["000001"]


def test_a_model_that_does_not_load_leaves_the_old_one_serving(tmp_path: Path) -> None:
    store = store_with()
    store.put_model(2, {"weights.safetensors": b"unloadable"})
    with routing(store, tmp_path) as router:
        router.refresh()
        store.put_production(2, 2)
        assert router.refresh().problems == {"v2": "RuntimeError: v2 does not fit"}
        assert router.choose("anyone").version == 1
        store.put_production(3, 1)  # rolled back: the problem is nobody's any more
        assert router.refresh().problems == {}


def test_a_refused_model_is_not_downloaded_at_every_poll_but_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    clock, store = ManualClock(), store_with(1, 2)
    store.objects["models/000002/weights.safetensors"] = b"Weights 2"
    with routing(store, tmp_path, clock=clock, poll_s=30.0) as router:
        for tries, pause_s in enumerate((30, 60, 120), 1):
            until(router, lambda tries=tries: router._failures.get(2, (0,))[0] == tries)  # type: ignore[misc]
            clock.advance(pause_s - 0.5)
            assert router._due_at() == clock.monotonic() + 0.5
            assert downloads(store, 2) == tries
            clock.advance(0.5)
        until(router, lambda: router._failures[2][0] == 4)
    assert [retry_after_s(failures, 30.0) for failures in (1, 2, 5, 6, 100)] == [30, 60, 480, 600, 600]


def test_polling_swaps_models_while_sessions_go_on(tmp_path: Path) -> None:
    clock, store = ManualClock(), store_with()
    with routing(store, tmp_path, clock=clock, poll_s=30.0) as router:
        router.refresh()
        held = router.choose("anyone")
        store.put_production(2, 2)
        while_time_goes_by(router, clock, lambda: router.status().stable == 2)
        assert router.choose("anyone").model.text == "weights 2"
        assert held.model.text == "weights 1"
        gone = weakref.ref(held.model)
        del held
        gc.collect()
        assert gone() is None


def test_waiting_for_a_version_looks_at_once_and_tells_whether_it_serves(tmp_path: Path) -> None:
    store = store_with()
    with routing(store, tmp_path) as router:
        assert router.wait_for(1, GIVEN_UP_S)
        assert not router.wait_for(2, 0.0)
        store.put_production(2, 1, canary=(2, 5))
        assert router.wait_for(2, GIVEN_UP_S)


def test_the_canary_gets_its_share_of_the_sessions_and_each_session_keeps_its_model(tmp_path: Path) -> None:
    store = store_with(1, 1, canary=(2, 10))
    sessions = [f"call-{number}" for number in range(10_000)]
    with routing(store, tmp_path / "a") as one, routing(store, tmp_path / "b") as other:
        one.refresh()
        other.refresh()
        first = {session for session in sessions if one.choose(session).version == 2}
        assert {session for session in sessions if other.choose(session).version == 2} == first
        # 10,000 x 0.1 = 1,000, standard deviation 30, four are 120
        assert abs(len(first) - 1000) <= 120
        store.put_production(2, 1, canary=(2, 30))
        one.refresh()
        more = {session for session in sessions if one.choose(session).version == 2}
        # 3,000, standard deviation 45.8, four are 183
        assert abs(len(more) - 3000) <= 183
        assert first < more
        store.put_production(3, 2)
        one.refresh()
        assert {one.choose(session).version for session in sessions} == {2}
    assert downloads(store, 2) == 2  # once for each cache: a canary that is promoted is not loaded again


def test_a_shadow_is_loaded_serves_nobody_and_is_handed_out_beside(tmp_path: Path) -> None:
    store = store_with(1, 1, canary=(2, 0))
    sessions = [f"call-{number}" for number in range(100)]
    with routing(store, tmp_path) as router:
        router.refresh()
        assert {router.choose(session).version for session in sessions} == {1}
        beside = [router.choose_shadow(session) for session in sessions]
        assert {None if served is None else served.version for served in beside} == {2}
        store.put_production(2, 1, canary=(2, 50))
        router.refresh()
        pairs = {
            (router.choose(session).version, served and served.version)
            for session in sessions
            for served in [router.choose_shadow(session)]
        }
        assert pairs == {(1, 2), (2, None)}
        store.put_production(3, 1)
        router.refresh()
        assert router.choose_shadow("call-1") is None


def test_a_canary_that_cannot_be_loaded_serves_nobody(tmp_path: Path) -> None:
    store = store_with(1, 1, canary=(2, 99))
    store.put_model(2, {"weights.safetensors": b"unloadable"})
    with routing(store, tmp_path) as router:
        status = router.refresh()
        assert {router.choose(f"call-{number}").version for number in range(100)} == {1}
    assert (status.canary, status.percent, list(status.problems)) == (None, 0, ["v2"])


def test_an_older_move_is_ignored(tmp_path: Path) -> None:
    store = store_with(7, 2)
    with routing(store, tmp_path) as router:
        router.refresh()
        store.put_production(6, 1)
        status = router.refresh()
        assert (status.seq, status.stable) == (7, 2)
        assert "expected seq 7 or later, found 6" in status.problems["alias"]
        store.put_production(8, 1)
        assert router.refresh().problems == {}
        assert router.choose("anyone").version == 1


def test_the_store_may_be_away(tmp_path: Path) -> None:
    class Away(MemoryModelStore):
        away = False

        def read(self, key: str) -> bytes:
            if self.away:
                raise ConnectionError("away")
            return super().read(key)

    store = Away()
    store.objects |= store_with().objects
    with routing(store, tmp_path) as router:
        router.refresh()
        store.away = True
        assert router.refresh().problems == {"alias": "ConnectionError: away"}
        assert router.choose("anyone").version == 1


def test_a_canary_ends_at_once_while_another_model_is_being_downloaded(tmp_path: Path) -> None:
    class Slow(MemoryModelStore):
        def __init__(self) -> None:
            super().__init__()
            self.begun, self.gate = threading.Event(), threading.Event()

        def download(self, key: str, path: Path) -> None:
            if "000003" in key:
                self.begun.set()
                assert self.gate.wait(GIVEN_UP_S)
            super().download(key, path)

    clock, store = ManualClock(), Slow()
    store.objects |= store_with(1, 1, canary=(2, 99)).objects
    with routing(store, tmp_path, clock=clock, poll_s=30.0) as router:
        assert router.wait_for(2, GIVEN_UP_S)
        store.put_production(2, 3, canary=(2, 99))
        while_time_goes_by(router, clock, store.begun.is_set)
        store.put_production(3, 3)
        while_time_goes_by(router, clock, lambda: router.status().canary is None)
        assert {router.choose(f"call-{number}").version for number in range(100)} == {1}
        store.gate.set()
        assert router.wait_for(3, GIVEN_UP_S)


def test_a_restarted_service_uses_its_cache_after_verifying_it(tmp_path: Path) -> None:
    store = store_with()
    with routing(store, tmp_path) as router:
        router.refresh()
    with routing(store, tmp_path) as router:
        router.refresh()
        assert downloads(store, 1) == 1
    (tmp_path / "000001" / "weights.safetensors").write_text("Weights 1")
    with routing(store, tmp_path) as router:
        router.refresh()
        assert router.choose("anyone").model.text == "weights 1"
    assert downloads(store, 1) == 2
    store.put_model(1, {"weights.safetensors": b"made anew"})
    with routing(store, tmp_path) as router:
        router.refresh()
        assert router.choose("anyone").model.text == "made anew"
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]


def test_the_cache_holds_what_serves_and_two_versions_to_roll_back_to(tmp_path: Path) -> None:
    store = store_with()
    with routing(store, tmp_path) as router:
        for version in range(1, 6):
            store.put_production(version, version, previous=tuple(range(version - 1, 0, -1)))
            router.refresh()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["000003", "000004", "000005"]
        store.put_production(6, 4, previous=(3, 2, 1))
        router.refresh()
        assert downloads(store, 4) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["000003", "000004"]


def test_a_model_whose_checksums_contradict_each_other_is_refused(tmp_path: Path) -> None:
    store = store_with()
    manifest = json.loads(store.objects["models/000001/manifest.json"])
    manifest["files"][0]["crc32c"] = "AAAAAA=="
    store.objects["models/000001/manifest.json"] = json.dumps(manifest).encode()
    with routing(store, tmp_path) as router:
        assert "weights.safetensors: expected crc32c AAAAAA==, found " in router.refresh().problems["v1"]


def test_a_file_may_have_another_name_in_the_bucket(tmp_path: Path) -> None:
    store = store_with()
    store.put_model(1, {"weights.safetensors": b"elsewhere"}, stored_names={"weights.safetensors": "weights-2.safetensors"})
    with routing(store, tmp_path) as router:
        router.refresh()
        assert router.choose("anyone").model.text == "elsewhere"


class FakeStream:
    def __init__(self) -> None:
        self.ended: BaseException | None = None
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def done(self) -> bool:
        return self.ended is not None

    def exception(self) -> BaseException | None:
        return self.ended


class FakeSubscriber:
    def __init__(self) -> None:
        self.streams: list[FakeStream] = []
        self.deliver: Callable[[Any], Any] = lambda _message: None
        self.name = ""

    def subscribe(self, subscription: str, callback: Callable[[Any], Any]) -> FakeStream:
        self.name, self.deliver = subscription, callback
        self.streams.append(FakeStream())
        return self.streams[-1]


class FakeMessage:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.acked = False

    def ack(self) -> None:
        self.acked = True


def test_a_move_that_is_announced_is_followed_at_once_and_an_old_one_is_not_looked_at(tmp_path: Path) -> None:
    store, subscriber = store_with(), FakeSubscriber()
    with routing(store, tmp_path, subscription="projects/p/subscriptions/s", subscriber=subscriber) as router:
        assert router.wait_for(1, GIVEN_UP_S)
        store.put_production(2, 2)
        news = FakeMessage(json.dumps({"seq": 2, "version": 2, "stable": 2}).encode())
        subscriber.deliver(news)
        until(router, lambda: router.status().stable == 2)
        assert (subscriber.name, news.acked) == ("projects/p/subscriptions/s", True)
        old = FakeMessage(json.dumps({"seq": 1}).encode())
        subscriber.deliver(old)
        assert (old.acked, router._woken) == (True, False)
        unreadable = FakeMessage(b"\xff")
        store.put_production(3, 1)
        subscriber.deliver(unreadable)
        until(router, lambda: router.status().stable == 1)
        assert unreadable.acked
    assert [stream.cancelled for stream in subscriber.streams] == [True]


def test_a_subscription_that_ends_is_opened_again_at_the_next_poll(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, subscriber = ManualClock(), FakeSubscriber()
    settings: dict[str, Any] = {"clock": clock, "poll_s": 30.0, "subscription": "projects/p/subscriptions/s", "subscriber": subscriber}
    with routing(store_with(), tmp_path, **settings) as router:
        assert router.wait_for(1, GIVEN_UP_S)
        subscriber.streams[0].ended = LookupError("no such subscription")
        while_time_goes_by(router, clock, lambda: len(subscriber.streams) == 2)
        assert "no such subscription" in caplog.text
        while_time_goes_by(router, clock, lambda: router.status().problems == {})
        assert len(subscriber.streams) == 2
