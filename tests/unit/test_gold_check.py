"""`llm-check`: each way in which an endpoint can be wrong is named, with what to do about it."""

import io
import threading
import wave
from itertools import count
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="the extra `trainer` is not installed")

from shared.gold import GoldConfig
from tests.gold_server import MODEL, GoldServer, content, small_trust, status
from trainer.gold.check import STEPS, CheckReport, check_endpoint, tone_wav
from trainer.gold.question import Usage

pytestmark = pytest.mark.torch

GIVEN_UP_S = 30.0


@pytest.fixture(autouse=True)
def quick_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", small_trust(tmp_path))


def check(base_url: str, key: str | None = None, **fields: Any) -> CheckReport:
    config = GoldConfig(**{"base_url": base_url, "model": MODEL, "timeout_s": GIVEN_UP_S} | fields)
    ticks = count()  # every look at the clock is 10 ms later
    return check_endpoint(config, {} if key is None else {"RETUNE_LLM_API_KEY": key}, monotonic=lambda: next(ticks) * 0.01)


def test_a_good_chat_endpoint_passes_with_its_latency_and_usage() -> None:
    with GoldServer(usage={"prompt_tokens": 300, "completion_tokens": 12}) as server:
        report = check(server.url)
        assert len(server.asked) == 1
    assert (report.ok, report.passed, report.failed, report.models) == (True, STEPS, None, (MODEL,))
    assert (report.usage, report.answer) == (Usage(300, 12), "one two")
    assert report.latency_s is not None
    assert report.latency_s > 0
    assert report.lines()[:4] == ["ok      address", "ok      key", "ok      model", "ok      answer"]
    assert report.lines()[4].endswith("300 tokens in, 12 out; it answered 'one two'")


def test_a_good_transcription_endpoint_is_sent_a_tone() -> None:
    with GoldServer(lambda _: "") as server:
        report = check(server.url, kind="transcription")
    assert (report.ok, report.answer) == (True, "")
    assert server.asked[0].file == tone_wav()
    assert report.lines()[4].endswith("token use not reported; it answered ''")


def test_the_tone_is_a_second_of_sound() -> None:
    with wave.open(io.BytesIO(tone_wav())) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()) == (16_000, 1, 2, 16_000)
        loudest = max(abs(int.from_bytes(file.readframes(1), "little", signed=True)) for _ in range(16_000))
    assert loudest == 3277


def test_an_endpoint_that_wants_another_dialect_passes() -> None:
    with GoldServer(refuses=("seed", "json_schema")) as server:
        assert check(server.url).ok


def test_an_endpoint_without_a_list_of_models_passes() -> None:
    with GoldServer(models=None) as server:
        report = check(server.url)
    assert (report.ok, report.models) == (True, ())


def failed_at(report: CheckReport) -> tuple[str | None, str, tuple[str, ...]]:
    assert not report.ok
    assert report.problem
    assert report.lines()[-1] == f"FAILED  {report.failed}: {report.advice}"
    return report.failed, report.problem.kind, report.passed


def test_a_server_that_is_not_there_is_named() -> None:
    server = GoldServer()
    server.server_close()
    report = check(server.url)
    assert failed_at(report) == ("address", "address", ())
    assert f"LLM {server.url}: expected a server that answers, found [Errno 111] Connection refused. Check host and port" in report.advice


def test_a_plain_server_behind_an_https_address_is_named() -> None:
    with GoldServer() as server:
        report = check(server.url.replace("http:", "https:"))
    assert failed_at(report) == ("address", "tls", ())
    assert "Use http:// if the server speaks plain HTTP" in report.advice


def test_an_address_without_v1_is_told_the_right_one() -> None:
    with GoldServer() as server:
        report = check(server.root)
    assert failed_at(report) == ("address", "path", ())
    assert report.advice == f"LLM {server.root}: expected an OpenAI-compatible API, found it at {server.url}: set base_url to that."


def test_an_address_without_v1_is_told_the_right_one_even_if_that_wants_a_key() -> None:
    with GoldServer(key="sk-1") as server:
        report = check(server.root)
    assert report.advice.endswith(f"found it at {server.url}: set base_url to that.")


def test_a_wrong_path_is_named() -> None:
    with GoldServer() as server:
        report = check(f"{server.root}/api")
    assert failed_at(report) == ("address", "path", ())
    assert f"found HTTP 404: Not Found. Check the path of base_url; most addresses end in /v1: try {server.root}/api/v1." in report.advice


def test_a_bad_key_is_named_and_not_shown() -> None:
    with GoldServer(key="sk-right") as server:
        report = check(server.url, "sk-wrong")
        assert server.asked == []
    assert failed_at(report) == ("key", "key", ("address",))
    assert "Check the key in RETUNE_LLM_API_KEY" in report.advice
    assert "sk-wrong" not in str(report)


def test_a_key_that_is_missing_is_named_by_its_variable() -> None:
    with GoldServer(key="sk-right") as server:
        report = check(server.url, api_key_env="MY_KEY")
    assert failed_at(report) == ("key", "no_key", ("address",))
    assert "The variable MY_KEY is not set" in report.advice


def test_a_key_that_cannot_be_one_is_named_before_anything_is_sent() -> None:
    report = check("http://127.0.0.1:1/v1", "two words")
    assert failed_at(report) == ("key", "key", ())


@pytest.mark.parametrize("host", ["a..b", "ä..b"])
def test_an_address_that_cannot_be_one_is_named(host: str) -> None:
    report = check(f"http://{host}/v1")
    assert failed_at(report) == ("address", "address", ())
    assert "Check host and port of base_url" in report.advice


def test_an_unknown_model_is_named_with_those_that_are_served_the_nearest_first() -> None:
    with GoldServer(models=("large", "gold-10", "gold-1")) as server:
        report = check(server.url, model="gold1")
    assert failed_at(report) == ("model", "model", ("address", "key"))
    assert "expected a model 'gold1', found HTTP 404: The model `gold1` does not exist." in report.advice
    assert report.advice.endswith("It serves: gold-1, gold-10, large.")


def test_of_many_models_ten_are_shown() -> None:
    with GoldServer(models=tuple(f"m{number}" for number in range(14))) as server:
        report = check(server.url, model="z")
    assert report.advice.endswith("It serves: m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 4 more.")


def test_a_server_that_hangs_is_named() -> None:
    released = threading.Event()
    with GoldServer(on_asked=lambda _: released.wait(GIVEN_UP_S)) as server:
        try:
            report = check(server.url, timeout_s=0.2)
        finally:
            released.set()
    assert failed_at(report)[:2] == ("answer", "timeout")
    assert "expected an answer within 0.2 s, found none. Raise timeout_s" in report.advice


@pytest.mark.parametrize("text", ["I heard: one two", '{"text": "one two"}'])
def test_a_model_that_does_not_keep_to_the_form_is_named(text: str) -> None:
    with GoldServer() as server:
        server.faults.append(content(text))
        report = check(server.url)
    assert failed_at(report) == ("answer", "bad_answer", ("address", "key", "model"))
    assert text[:8] in report.advice
    assert "keeps to a JSON schema" in report.advice


@pytest.mark.parametrize(
    ("code", "kind", "passed", "words"),
    [
        (429, "rate_limit", ("address", "key", "model"), "Lower concurrency"),
        (402, "quota", ("address", "key", "model"), "Add credit"),
        (500, "server", ("address", "key", "model"), "look at its log"),
        (415, "refused", ("address", "key", "model"), "takes a request of this kind"),
    ],
)
def test_every_other_refusal_is_named(code: int, kind: str, passed: tuple[str, ...], words: str) -> None:
    with GoldServer() as server:
        server.faults.extend([status(code, "so it is")] * 2)
        report = check(server.url)
    assert failed_at(report) == ("answer", kind, passed)
    assert f"HTTP {code}: so it is" in report.advice
    assert words in report.advice


def test_what_is_not_known_to_be_in_order_is_not_claimed() -> None:
    with GoldServer(models=None) as server:
        server.faults.append(status(500))
        report = check(server.url)
    assert failed_at(report) == ("answer", "server", ("address",))
