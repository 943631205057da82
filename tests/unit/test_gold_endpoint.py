"""The wire: what is sent in which dialect, and what is made of replies that a well-behaved server would not send."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="the extra `trainer` is not installed")

from shared.documents import sha256_hex
from shared.gold import GoldConfig
from tests.gold_server import CHAT, MODEL, TRANSCRIPTIONS, GoldServer, Sent, body, cut, small_trust, status
from trainer.gold.endpoint import MAX_REPLY_BYTES, Endpoint, find_key
from trainer.gold.problems import GoldUnavailable, RequestFailed
from trainer.gold.prompt import transcription_fields
from trainer.gold.question import GoldQuestion
from trainer.gold.replies import parse_transcription
from trainer.gold.transcribers import open_transcriber

pytestmark = pytest.mark.torch

AUDIO = b"RIFF....WAVEfmt and samples"
QUESTION = GoldQuestion("u1", "call me bag", 2.0, sha256_hex(AUDIO), lambda: AUDIO, ("bag",))


@pytest.fixture(autouse=True)
def quick_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", small_trust(tmp_path))


def config_of(server: GoldServer, **fields: Any) -> GoldConfig:
    return GoldConfig(**{"base_url": server.url, "model": MODEL, "timeout_s": 30.0} | fields)


def ask(server: GoldServer, *, times: int = 1, environ: dict[str, str] | None = None, **fields: Any) -> list[str]:
    transcriber = open_transcriber(config_of(server, **fields), environ or {})
    return [transcriber.ask(QUESTION, sample).text for sample in range(times)]


def test_a_chat_model_is_told_the_hypothesis_and_the_words_in_doubt() -> None:
    with GoldServer() as server:
        assert ask(server, language="en", terms=("Retune",)) == ["one two"]
    (asked,) = server.asked
    assert asked.told == {"hypothesis": "call me bag", "language": "en", "terms": ["Retune"], "uncertain_words": ["bag"]}
    assert (asked.path, asked.audio, asked.fields["temperature"]) == (CHAT, None, 0.7)


def test_a_chat_model_that_hears_gets_the_audio() -> None:
    with GoldServer() as server:
        ask(server, send_audio=True)
    assert (server.asked[0].audio, server.asked[0].hypothesis) == (AUDIO, "call me bag")


def test_a_transcription_model_gets_the_file_and_not_the_hypothesis() -> None:
    with GoldServer() as server:
        assert ask(server, kind="transcription", language="de", terms=("Retune",)) == ["one two"]
    (asked,) = server.asked
    assert (asked.path, asked.file) == (TRANSCRIPTIONS, AUDIO)
    assert asked.fields == {"model": MODEL, "file": "audio.wav", "temperature": "0.7", "language": "de", "prompt": "Retune"}


def test_terms_reach_mistral_as_one_field_of_the_form() -> None:
    with GoldServer() as server:
        mistral = GoldConfig(base_url="https://api.mistral.ai/v1", model=MODEL, terms=("Retune", "Alder Creek"), kind="transcription")
        reply = Endpoint(config_of(server), None).transcribe(transcription_fields(mistral, AUDIO))
    assert parse_transcription(reply).text == "one two"
    assert server.asked[0].fields["context_bias"] == "Retune,Alder_Creek"


def test_an_endpoint_with_words_of_its_own_is_asked_in_them_from_then_on() -> None:
    with GoldServer(refuses=("seed", "max_tokens", "input_audio", "json_schema")) as server:
        assert ask(server, times=3, send_audio=True) == ["one two"] * 3
        assert len(server.asked) == 5 + 2
    last = server.asked[-1]
    assert last.fields["random_seed"] == 3
    assert last.fields["max_completion_tokens"] == 512
    assert last.fields["response_format"] == {"type": "json_object"}
    assert last.audio == AUDIO
    assert {"seed", "max_tokens"} & set(last.fields) == set()


def test_an_endpoint_that_knows_no_seed_is_asked_without() -> None:
    with GoldServer(refuses=("seed", "random_seed")) as server:
        assert ask(server, times=2) == ["one two"] * 2
        assert len(server.asked) == 4
    assert {"seed", "random_seed"} & set(server.asked[-1].fields) == set()


def test_a_request_that_is_too_large_is_not_sent_again_in_other_words() -> None:
    with GoldServer() as server:
        server.faults.append(status(413, "too large"))
        with pytest.raises(RequestFailed, match="refused: HTTP 413"):
            ask(server)
        assert len(server.asked) == 1


def test_when_every_dialect_is_refused_the_first_refusal_tells_and_none_is_remembered() -> None:
    with GoldServer() as server:
        server.faults.extend([status(400, "content policy"), status(400, "json_object is unknown")])
        transcriber = open_transcriber(config_of(server), {})
        with pytest.raises(RequestFailed, match="content policy"):
            transcriber.ask(QUESTION, 0)
        transcriber.ask(QUESTION, 0)
    assert server.asked[-1].fields["response_format"]["type"] == "json_schema"


def test_a_key_is_sent_without_the_line_break_that_it_was_pasted_with() -> None:
    with GoldServer(key="sk-1") as server:
        assert ask(server, environ={"MY_KEY": "sk-1\n"}, api_key_env="MY_KEY") == ["one two"]


def test_an_endpoint_without_keys_needs_none() -> None:
    with GoldServer() as server:
        assert ask(server, environ={"OPENAI_API_KEY": "sk-of-somebody-else"}) == ["one two"]
        assert server.asked[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize("key", ["sk 1", "sk-\u2013", "sk\n1"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(key: str) -> None:
    config = GoldConfig(base_url="http://127.0.0.1:1/v1", model=MODEL)
    with pytest.raises(GoldUnavailable, match="Check the key in RETUNE_LLM_API_KEY") as refused:
        find_key(config, {"RETUNE_LLM_API_KEY": key})
    assert key not in str(refused.value)


def test_a_key_that_the_endpoint_repeats_is_not_shown() -> None:
    with GoldServer(key="sk-right") as server:
        with pytest.raises(RequestFailed, match=r"Incorrect API key provided: Bearer \*\*\*") as failed:
            ask(server, environ={"RETUNE_LLM_API_KEY": "sk-wrong"})
        assert "sk-wrong" not in str(failed.value)
        with pytest.raises(RequestFailed) as without:
            ask(server)
    assert (failed.value.problem.kind, without.value.problem.kind) == ("key", "no_key")


def test_a_reply_that_drips_for_longer_than_allowed_is_a_time_out() -> None:
    clock = iter([0.0, 4.0, 11.0])
    with GoldServer() as server:
        server.faults.append(body(b'{"te' + b" " * 200_000))
        endpoint = Endpoint(config_of(server, timeout_s=10.0), None, monotonic=lambda: next(clock))
        with pytest.raises(RequestFailed, match="of an answer that went on") as failed:
            endpoint.transcribe(transcription_fields(config_of(server), AUDIO))
    assert (failed.value.problem.kind, failed.value.problem.maybe_billed) == ("timeout", True)


def test_a_reply_without_end_is_not_read_to_its_end() -> None:
    with GoldServer() as server:
        server.faults.append(body(b" " * (MAX_REPLY_BYTES * 3)))
        with pytest.raises(RequestFailed, match="more than 1048576 bytes"):
            ask(server)


def _cut_error(sent: Sent) -> Sent:
    return cut(status(500, "a long explanation of what went wrong")(sent))


@pytest.mark.parametrize("fault", [cut, _cut_error, body(b"", "text/plain")])
def test_a_reply_that_breaks_off_may_pass(fault: Any) -> None:
    with GoldServer() as server:
        server.faults.append(fault)
        with pytest.raises(RequestFailed) as failed:
            ask(server)
    assert failed.value.problem.may_pass


def test_a_web_page_is_not_an_api() -> None:
    with GoldServer() as server:
        server.faults.append(body(b"\n<html><body>Welcome</body></html>", "text/html"))
        with pytest.raises(RequestFailed, match="path: a web page"):
            ask(server)


def test_only_requests_for_answers_are_counted() -> None:
    with GoldServer() as server:
        endpoint = Endpoint(config_of(server), None)
        assert endpoint.models() == (MODEL,)
        assert endpoint.requests == 0
