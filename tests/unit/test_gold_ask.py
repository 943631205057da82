"""Asking for gold over real HTTP, with every fault an endpoint can have: answers, cache, retries, budget, concurrency."""

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="the extra `trainer` is not installed")

from shared.dir_store import DirStore
from shared.documents import sha256_hex
from shared.errors import CorruptObject
from shared.gold import GoldBudget, GoldConfig
from shared.objectstore import ObjectStore
from shared.testing.memory_store import MemoryStore
from tests.gold_server import MODEL, Asked, Fault, GoldServer, body, content, cut, small_trust, status
from trainer.gold.ask import FRUITLESS_CLIPS, GoldAnswer, GoldAnswers, ask_all, wait_s
from trainer.gold.problems import GoldUnavailable
from trainer.gold.prompt import ceiling, identity_sha256
from trainer.gold.question import GoldQuestion, Usage
from trainer.gold.transcribers import open_transcriber

pytestmark = pytest.mark.torch

KEY = "sk-secret-of-the-test"
PREFIX = "gold/answers/"
GIVEN_UP_S = 30.0
"""A wait that ends only when the test has failed."""


@pytest.fixture(autouse=True)
def quick_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", small_trust(tmp_path))


def config_of(server: GoldServer, **fields: Any) -> GoldConfig:
    values: dict[str, Any] = {"base_url": server.url, "model": MODEL, "samples": 1, "concurrency": 1, "tries": 3, "timeout_s": GIVEN_UP_S}
    return GoldConfig(**values | fields)


def question(number: int, hypothesis: str | None = None) -> GoldQuestion:
    audio = f"audio {number}".encode()
    return GoldQuestion(f"u{number}", hypothesis or f"clip {number}", 2.0, sha256_hex(audio), lambda: audio)


def ask(
    server: GoldServer,
    questions: list[GoldQuestion],
    store: ObjectStore | None = None,
    *,
    waits: list[float] | None = None,
    on_done: Callable[[GoldAnswer], None] = lambda _: None,
    **fields: Any,
) -> GoldAnswers:
    noted = [] if waits is None else waits
    transcriber = open_transcriber(config_of(server, **fields), {"RETUNE_LLM_API_KEY": KEY})
    target = MemoryStore() if store is None else store
    return ask_all(transcriber, questions, store=target, prefix=PREFIX, on_done=on_done, sleep=noted.append, rng=random.Random(1))


def heard(asked: Asked) -> str:
    return f"gold of {asked.hypothesis} as {asked.seed}"


def test_every_clip_gets_its_samples_in_order_each_with_a_seed_of_its_own() -> None:
    with GoldServer(heard) as server:
        result = ask(server, [question(number) for number in range(7)], samples=3, concurrency=4)
    assert [answer.utterance_id for answer in result.answers] == [f"u{number}" for number in range(7)]
    assert result.answers[5].samples == ("gold of clip 5 as 1", "gold of clip 5 as 2", "gold of clip 5 as 3")
    assert all(answer.failure is None for answer in result.answers)
    assert (len(server.asked), result.totals.requests) == (21, 21)


def test_a_transcription_endpoint_is_asked_once_for_each_sample() -> None:
    texts = iter(["one two", "One, two.", "one too"])
    with GoldServer(lambda _: next(texts)) as server:
        result = ask(server, [question(4)], samples=3, kind="transcription")
    assert result.answers[0].samples == ("one two", "One, two.", "one too")
    assert [asked.audio for asked in server.asked] == [b"audio 4"] * 3


@pytest.mark.parametrize("kind", ["chat", "transcription"])
def test_a_rerun_asks_nothing_and_costs_nothing(kind: str, tmp_path: Path) -> None:
    store = DirStore(tmp_path)
    with GoldServer(usage={"prompt_tokens": 40, "completion_tokens": 10}) as server:
        first = ask(server, [question(1), question(2)], store, samples=2, kind=kind)
        assert len(server.asked) == 4
        again = ask(server, [question(1), question(2)], DirStore(tmp_path), samples=2, kind=kind)
        assert len(server.asked) == 4
    assert [answer.samples for answer in again.answers] == [answer.samples for answer in first.answers]
    assert [len(answer.samples) for answer in again.answers] == [2, 2]
    assert (first.totals.requests, first.totals.usage.tokens) == (4, 200)
    assert (again.totals.requests, again.totals.usage) == (0, Usage())


def test_a_rerun_does_not_read_the_audio_again() -> None:
    store = MemoryStore()
    with GoldServer() as server:
        ask(server, [question(1)], store, kind="transcription")

        def gone() -> bytes:
            raise FileNotFoundError

        result = ask(server, [replace(question(1), read_audio=gone)], store, kind="transcription")
    assert result.answers[0].samples == ("one two",)


def test_the_audio_of_a_clip_is_read_once_for_all_its_samples_and_tries() -> None:
    reads: list[int] = []

    def read() -> bytes:
        reads.append(1)
        return b"audio 1"

    with GoldServer() as server:
        server.faults.extend([None, status(500)])
        result = ask(server, [replace(question(1), read_audio=read)], kind="transcription", samples=3)
        assert len(server.asked) == 4
    assert (len(result.answers[0].samples), len(reads)) == (3, 1)


def test_another_hypothesis_or_model_is_another_question() -> None:
    store = MemoryStore()
    with GoldServer(heard, models=(MODEL, "gold-2")) as server:
        for hypothesis, model in [("a", MODEL), ("b", MODEL), ("a", "gold-2"), ("a", MODEL)]:
            ask(server, [question(1, hypothesis)], store, model=model)
    assert [(asked.hypothesis, asked.fields["model"]) for asked in server.asked] == [("a", MODEL), ("b", MODEL), ("a", "gold-2")]


def test_a_stopped_run_goes_on_where_it_stopped() -> None:
    store = MemoryStore()
    with GoldServer(heard) as server:
        server.faults.extend([None, None, status(403)])
        with pytest.raises(GoldUnavailable):
            ask(server, [question(number) for number in range(4)], store)
        assert len(server.asked) == 3
        result = ask(server, [question(number) for number in range(4)], store)
    assert [asked.hypothesis for asked in server.asked[3:]] == ["clip 2", "clip 3"]
    assert (result.totals.requests, result.answers[0].samples) == (2, ("gold of clip 0 as 1",))


def _entry(number: int, server: GoldServer) -> str:
    return f"{PREFIX}{identity_sha256(config_of(server), question(number), 0)}.json"


@pytest.mark.parametrize("damage", [b"", b"{", b'{"v": 1, "identity_sha256": "' + b"0" * 64 + b'", "text": "of another"}'])
def test_a_broken_answer_in_the_cache_is_asked_for_again_and_replaced(damage: bytes) -> None:
    store = MemoryStore()
    with GoldServer(heard) as server:
        store.put(_entry(1, server), damage)
        for _ in range(2):
            assert ask(server, [question(1)], store).answers[0].samples == ("gold of clip 1 as 1",)
        assert len(server.asked) == 1


def test_an_answer_whose_file_was_changed_is_asked_for_again_and_replaced(tmp_path: Path) -> None:
    store = DirStore(tmp_path)
    with GoldServer(heard) as server:
        ask(server, [question(1)], store)
        (file,) = (path for path in tmp_path.rglob("*.json@"))
        file.write_bytes(file.read_bytes().replace(b"gold", b"fool", 1))
        for _ in range(2):
            assert ask(server, [question(1)], store).answers[0].samples == ("gold of clip 1 as 1",)
        assert len(server.asked) == 2


def test_the_key_is_sent_and_stands_nowhere_else() -> None:
    store = MemoryStore()
    with GoldServer(key=KEY) as server:
        result = ask(server, [question(1)], store)
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    stored = [store.get(info.key) for info in store.list("")]
    assert len(stored) == 1
    assert KEY not in f"{stored} {result}"


WRONG = {
    "server error": status(500),
    "bad gateway": status(502),
    "conflict": status(409),
    "request timeout": status(408),
    "cut reply": cut,
    "no JSON": content("I think he said: one two"),
    "half a JSON": content('{"transcript": "one tw'),
    "another key": content('{"text": "one two"}'),
    "a key too many": content('{"transcript": "one two", "sure": false}'),
    "not a text": content('{"transcript": ["one", "two"]}'),
    "null": content(None),
    "cut by the limit": content('{"transcript": "one two"}', "length"),
    "filtered": content('{"transcript": ""}', "content_filter"),
    "no choices": body(b'{"id": "1", "choices": []}'),
    "no object": body(b"[1]"),
    "body is no JSON": body(b'{"id": "1", "cho'),
}


@pytest.mark.parametrize("fault", WRONG.values(), ids=WRONG.keys())
def test_what_may_pass_is_tried_again(fault: Fault) -> None:
    waits: list[float] = []
    with GoldServer() as server:
        server.faults.extend([fault, fault])
        result = ask(server, [question(1)], waits=waits)
    assert result.answers == (GoldAnswer("u1", ("one two",)),)
    assert (len(server.asked), result.totals.requests, len(waits)) == (3, 3, 2)
    assert 0.25 <= waits[0] < 0.75
    assert 0.5 <= waits[1] < 1.5


@pytest.mark.parametrize("fault", [cut, body(b'{"tex'), body(b'{"texts": "one two"}'), status(503)])
def test_a_failed_transcription_is_tried_again(fault: Fault) -> None:
    with GoldServer() as server:
        server.faults.append(fault)
        result = ask(server, [question(1)], kind="transcription")
    assert (result.answers[0].samples, len(server.asked)) == (("one two",), 2)


def test_the_pause_that_an_endpoint_asks_for_is_kept() -> None:
    waits: list[float] = []
    with GoldServer() as server:
        server.faults.extend([status(429, retry_after="7"), status(429)])
        assert ask(server, [question(1)], waits=waits).answers[0].samples == ("one two",)
    assert 7.0 <= waits[0] < 8.0
    assert 0.5 <= waits[1] < 1.5


def test_a_pause_of_an_hour_is_a_spent_quota_and_stops_the_run_at_once() -> None:
    with GoldServer() as server:
        server.faults.append(status(429, "daily limit", retry_after="3600"))
        with pytest.raises(GoldUnavailable, match=r"daily limit.*Lower concurrency"):
            ask(server, [question(1)])
        assert len(server.asked) == 1


def test_a_code_fence_around_the_answer_is_taken_off() -> None:
    with GoldServer() as server:
        server.faults.append(content('```json\n{"transcript": "one two"}\n```'))
        assert ask(server, [question(1)]).answers[0].samples == ("one two",)
        assert len(server.asked) == 1


def test_what_a_model_invents_goes_through_here() -> None:
    invented = "thank you for watching and do not forget to subscribe"
    with GoldServer() as server:
        server.faults.append(content(f'{{"transcript": "{invented}"}}'))
        assert ask(server, [question(1)]).answers[0].samples == (invented,)


def test_silence_is_an_answer() -> None:
    with GoldServer(lambda _: "") as server:
        assert ask(server, [question(1)]).answers[0] == GoldAnswer("u1", ("",))


def test_a_clip_without_a_usable_answer_has_no_text_at_all_and_the_rest_goes_on() -> None:
    store = MemoryStore()
    with GoldServer(heard) as server:
        server.faults.extend([None, None, content("?"), content("?"), content("?")])
        result = ask(server, [question(number) for number in range(3)], store, samples=2)
    bad = result.answers[1]
    assert (bad.samples, bad.failure) == ((), "no_usable_answer")
    assert "no JSON" in bad.detail
    assert [len(result.answers[number].samples) for number in (0, 2)] == [2, 2]
    assert len(list(store.list(PREFIX))) == 4


def test_an_endpoint_that_answers_badly_is_not_down() -> None:
    with GoldServer() as server:
        server.faults.extend([content("?"), status(500), status(500)])
        assert ask(server, [question(1)]).answers[0].failure == "no_usable_answer"


def test_when_none_of_the_first_clips_has_a_usable_answer_the_run_stops() -> None:
    with GoldServer() as server:
        server.faults.extend([content("?")] * 100)
        with pytest.raises(GoldUnavailable, match=rf"None of the first {FRUITLESS_CLIPS} clips.*keeps to a JSON schema"):
            ask(server, [question(number) for number in range(40)], tries=2)
        assert len(server.asked) == FRUITLESS_CLIPS * 2


def test_one_usable_answer_among_the_first_clips_keeps_the_run_going() -> None:
    with GoldServer() as server:
        server.faults.extend([content("?")] * 4 + [None] + [content("?")] * 5)
        result = ask(server, [question(number) for number in range(10)], tries=1)
    assert [answer.failure for answer in result.answers] == ["no_usable_answer"] * 4 + [None] + ["no_usable_answer"] * 5


@pytest.mark.parametrize("fault", [status(500), cut], ids=["500", "cut"])
def test_an_endpoint_that_fails_at_every_try_stops_the_run(fault: Fault) -> None:
    store = MemoryStore()
    with GoldServer() as server:
        server.faults.extend([fault] * 100)
        with pytest.raises(GoldUnavailable, match=r"^LLM is down, 3 tries failed: LLM http://127"):
            ask(server, [question(number) for number in range(20)], store)
        assert len(server.asked) == 3
    assert list(store.list("")) == []


def test_an_endpoint_that_is_not_there_stops_the_run() -> None:
    waits: list[float] = []
    server = GoldServer()
    server.server_close()
    with pytest.raises(GoldUnavailable, match=r"LLM is down.*refused.*Check host and port") as stopped:
        ask(server, [question(1)], waits=waits)
    assert (stopped.value.problem.kind, len(waits)) == ("address", 2)


def test_a_slow_endpoint_stops_the_run() -> None:
    released, waits = threading.Event(), list[float]()
    with GoldServer(on_asked=lambda _: released.wait(GIVEN_UP_S)) as server:
        try:
            with pytest.raises(GoldUnavailable, match=r"LLM is down, 2 tries failed.*within 0.1 s, found none. Raise timeout_s"):
                ask(server, [question(1)], waits=waits, tries=2, timeout_s=0.1)
        finally:
            released.set()
        assert len(waits) == 1


FATAL = {
    "key": (status(401, "bad key"), "key", r"bad key. Check the key in RETUNE_LLM_API_KEY"),
    "forbidden": (status(403), "key", r"Check the key"),
    "path": (body(b"<!DOCTYPE html><html></html>", "text/html"), "path", r"a web page. Check the path of base_url"),
    "model": (status(404, "The model `x` does not exist"), "model", r"Check the model's id"),
    "request": (status(400, "audio is not supported"), "refused", r"audio is not supported. Check that model 'gold-1' takes"),
    "entity": (status(422), "refused", r"HTTP 422"),
    "credit": (status(402), "quota", r"Add credit"),
}


@pytest.mark.parametrize(("fault", "kind", "words"), FATAL.values(), ids=FATAL.keys())
def test_what_cannot_pass_stops_the_run_at_once_and_says_what_to_do(fault: Fault, kind: str, words: str) -> None:
    with GoldServer() as server:
        server.faults.extend([fault, fault])  # a refusal is answered by the other form of JSON, once
        with pytest.raises(GoldUnavailable, match=words) as stopped:
            ask(server, [question(number) for number in range(9)])
        assert stopped.value.problem.kind == kind
        assert len(server.asked) == (2 if kind == "refused" else 1)


def test_a_clip_that_is_refused_alone_does_not_stop_the_run() -> None:
    with GoldServer() as server:
        server.faults.extend([None, *[status(400, "content policy")] * 2, None])
        result = ask(server, [question(number) for number in range(3)])
    assert [answer.failure for answer in result.answers] == [None, "refused", None]
    assert "content policy" in result.answers[1].detail
    assert server.asked[-1].fields["response_format"]["type"] == "json_schema"


def test_an_endpoint_without_json_schema_is_asked_for_a_json_object_and_that_is_remembered() -> None:
    with GoldServer(refuses=("json_schema",)) as server:
        result = ask(server, [question(number) for number in range(3)])
    assert all(answer.samples == ("one two",) for answer in result.answers)
    assert [asked.fields["response_format"]["type"] for asked in server.asked] == ["json_schema"] + ["json_object"] * 3


def test_no_more_requests_are_under_way_than_allowed_and_so_many_really_are() -> None:
    barrier = threading.Barrier(3)
    with GoldServer(on_asked=lambda _: barrier.wait(GIVEN_UP_S)) as server:
        result = ask(server, [question(number) for number in range(6)], samples=2, concurrency=3)
    assert all(len(answer.samples) == 2 for answer in result.answers)
    assert (len(server.asked), server.most_under_way) == (12, 3)


def test_the_first_error_that_ends_a_run_cancels_what_has_not_started() -> None:
    both = threading.Barrier(2)
    with GoldServer(on_asked=lambda _: both.wait(GIVEN_UP_S)) as server:
        server.faults.extend([status(401), status(401)])
        with pytest.raises(GoldUnavailable):
            ask(server, [question(number) for number in range(50)], concurrency=2)
        assert len(server.asked) == 2


def test_each_clip_is_told_of_on_the_callers_thread() -> None:
    told: list[tuple[str, int]] = []
    with GoldServer() as server:
        ask(
            server,
            [question(number) for number in range(5)],
            concurrency=3,
            on_done=lambda answer: told.append((answer.utterance_id, threading.get_ident())),
        )
    assert sorted(told) == [(f"u{number}", threading.get_ident()) for number in range(5)]


def test_an_interrupted_run_does_not_wait_for_requests_under_way() -> None:
    released, in_time = threading.Event(), list[bool]()

    def hold(asked: Asked) -> None:
        if asked.hypothesis != "clip 0":
            in_time.append(released.wait(GIVEN_UP_S))

    def interrupt(_: GoldAnswer) -> None:
        raise KeyboardInterrupt

    with GoldServer(on_asked=hold) as server:
        with pytest.raises(KeyboardInterrupt):
            ask(server, [question(number) for number in range(9)], concurrency=2, on_done=interrupt)
        released.set()
        for thread in threading.enumerate():
            if thread.name.startswith("gold_"):
                thread.join(GIVEN_UP_S)
        assert len(server.asked) <= 3
    assert all(in_time)


def test_audio_that_is_not_what_was_promised_is_not_sent() -> None:
    changed = replace(question(1), read_audio=lambda: b"other audio")
    with GoldServer() as server:
        with pytest.raises(CorruptObject, match="audio of u1: expected sha256"):
            ask(server, [changed], kind="transcription")
        assert server.asked == []


def test_the_budget_of_tokens_is_never_passed() -> None:
    with GoldServer(usage={"prompt_tokens": 40, "completion_tokens": 10}) as server:
        worst = ceiling(config_of(server), question(0)).tokens
        # spent + worst <= worst + 100 holds at 0, 50 and 100 tokens spent, and not at 150
        result = ask(server, [question(number) for number in range(6)], budget=GoldBudget(max_tokens=worst + 100))
        assert len(server.asked) == 3
    assert [answer.failure for answer in result.answers] == [None] * 3 + ["over_budget"] * 3
    assert (result.totals.usage, result.answers[3].samples) == (Usage(120, 30), ())
    assert "150 spent: raise the budget" in result.answers[3].detail


def test_threads_share_one_budget_and_use_it_up() -> None:
    with GoldServer(usage={"prompt_tokens": 40, "completion_tokens": 10}) as server:
        worst = ceiling(config_of(server), question(0)).tokens
        result = ask(server, [question(number) for number in range(20)], concurrency=8, budget=GoldBudget(max_tokens=worst + 500))
        assert len(server.asked) == 11  # 0, 50, ... 500 tokens spent
    assert result.totals.usage.tokens == 550


def test_the_budget_of_money_is_never_passed() -> None:
    prices = {"usd_per_million_input_tokens": 2.0, "usd_per_million_output_tokens": 10.0}
    with GoldServer(usage={"prompt_tokens": 1000, "completion_tokens": 100}) as server:
        most = ceiling(config_of(server), question(0))
        worst_usd = (most.input_tokens * 2.0 + most.output_tokens * 10.0) / 1e6
        # an answer costs 0.003 USD
        budget = GoldBudget(max_usd=worst_usd + 0.003, **prices)
        result = ask(server, [question(number) for number in range(4)], budget=budget)
    assert [answer.failure for answer in result.answers] == [None, None, "over_budget", "over_budget"]
    assert result.totals.usd == pytest.approx(0.006)


def test_minutes_of_audio_are_paid_for_by_what_the_endpoint_says() -> None:
    with GoldServer(usage={"prompt_audio_seconds": 3, "prompt_tokens": 4, "completion_tokens": 27}) as server:
        result = ask(server, [question(1)], kind="transcription", budget=GoldBudget(max_usd=1.0, usd_per_audio_minute=0.2))
    assert result.totals.usage == Usage(4, 27, 3)
    assert result.totals.usd == pytest.approx(0.01)


@pytest.mark.parametrize("fault", [None, cut], ids=["not reported", "lost"])
def test_an_answer_of_unknown_cost_counts_with_its_worst_case(fault: Fault | None) -> None:
    with GoldServer() as server:
        worst = ceiling(config_of(server), question(1))
        server.faults.append(fault)
        result = ask(server, [question(1)])
    assert result.totals.usage == (worst if fault is None else worst + worst)


def test_a_request_that_was_turned_away_costs_nothing() -> None:
    with GoldServer(usage={"prompt_tokens": 40, "completion_tokens": 10}) as server:
        server.faults.extend([status(429), status(500)])
        assert ask(server, [question(1)]).totals.usage == Usage(40, 10)


def test_a_bad_answer_is_paid_for() -> None:
    with GoldServer(usage={"prompt_tokens": 40, "completion_tokens": 10}) as server:
        server.faults.append(content("?"))
        assert ask(server, [question(1)]).totals.usage == Usage(80, 20)


def test_waits_grow_twofold_up_to_half_a_minute_and_are_spread() -> None:
    assert [wait_s(attempt, None, 0.5) for attempt in (1, 2, 3, 7, 20)] == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert (wait_s(3, None, 0.0), wait_s(3, None, 0.75)) == (1.0, 2.5)
    assert (wait_s(1, 12.0, 0.0), wait_s(9, 0.0, 0.25)) == (12.0, 0.25)
