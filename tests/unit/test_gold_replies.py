"""What a reply says."""

import json
from typing import Any

import pytest

from trainer.gold.problems import RequestFailed
from trainer.gold.question import Usage
from trainer.gold.replies import parse_chat, parse_models, parse_transcription


def _chat(**choice: Any) -> bytes:
    message = {"message": {"content": '{"transcript": "one"}'}, "finish_reason": "stop"}
    return json.dumps({"choices": [message | choice], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}).encode()


def test_a_chat_reply_has_a_transcript_and_a_usage() -> None:
    reply = parse_chat(_chat())
    assert (reply.text, reply.usage) == ("one", Usage(7, 2))


@pytest.mark.parametrize(
    "choice",
    [
        {"message": None},
        {"message": {"refusal": "no"}},
        {"message": {"content": '"one"'}},
        {"message": {"content": "[]"}},
        {"message": {"content": '{"transcript": null}'}},
        {"finish_reason": "length"},
    ],
)
def test_a_bad_answer_still_tells_its_usage(choice: dict[str, Any]) -> None:
    with pytest.raises(RequestFailed) as failed:
        parse_chat(_chat(**choice))
    assert (failed.value.problem.kind, failed.value.usage) == ("bad_answer", Usage(7, 2))


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"prompt_tokens": 4, "completion_tokens": 27, "prompt_audio_seconds": 203}, Usage(4, 27, 203)),
        ({"type": "tokens", "input_tokens": 14, "output_tokens": 45}, Usage(14, 45)),
        ({"type": "duration", "seconds": 9}, Usage(audio_s=9)),
        ({"prompt_tokens": "4", "completion_tokens": -1}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_every_form_of_usage_is_understood(reported: Any, usage: Usage | None) -> None:
    reply = parse_transcription(json.dumps({"text": "one", "usage": reported}).encode())
    assert (reply.text, reply.usage) == ("one", usage)


def test_a_list_of_models_is_read_as_far_as_it_is_one() -> None:
    assert parse_models(b'{"data": [{"id": "a"}, {"id": 3}, "b", {"id": "c"}]}') == ("a", "c")
    assert [parse_models(data) for data in (b"", b"[]", b'{"data": {}}', b"<html>")] == [()] * 4
