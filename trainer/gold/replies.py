"""What a reply says. Nothing in it is trusted: what is not of the asked form is no answer. Pure."""

import json
import re
from typing import Any

from trainer.gold.problems import Problem, RequestFailed, bad_answer
from trainer.gold.question import Reply, Usage

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)
_PAGE = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)


def parse_chat(body: bytes) -> Reply:
    """Return the transcript in a chat reply.

    Raises:
        RequestFailed: (bad_answer) it is cut off, filtered, empty, or holds anything but `{"transcript": "..."}`; (path) it is a web page.
    """
    content = _object(body)
    usage = _usage(content.get("usage"))
    choices = content.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise bad_answer("a reply without choices", usage)
    message = choice.get("message")
    if choice.get("finish_reason") in {"length", "content_filter"}:
        raise bad_answer(f"an answer that ended by {choice['finish_reason']}", usage)
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        raise bad_answer("an answer without text", usage)
    return Reply(_transcript(text, usage), usage)


def _transcript(text: str, usage: Usage | None) -> str:
    # A model that is not held to the schema is wont to put its JSON into a code fence.
    fenced = _FENCE.fullmatch(text)
    try:
        answer = json.loads(fenced[1] if fenced else text)
    except ValueError:
        raise bad_answer(f"text that is no JSON: {text[:100]!r}", usage) from None
    transcript = answer.get("transcript") if isinstance(answer, dict) and len(answer) == 1 else None
    if not isinstance(transcript, str):
        raise bad_answer(f"JSON of another form: {text[:100]!r}", usage)
    return transcript


def parse_transcription(body: bytes) -> Reply:
    """Return the text in a transcription reply.

    Raises:
        RequestFailed: (bad_answer) it has none; (path) it is a web page.
    """
    content = _object(body)
    usage = _usage(content.get("usage"))
    text = content.get("text")
    if not isinstance(text, str):
        raise bad_answer(f"a reply without text: {body[:100].decode(errors='replace')!r}", usage)
    return Reply(text, usage)


def parse_models(body: bytes) -> tuple[str, ...]:
    """Return the ids in a list of models; none where it is not such a list."""
    try:
        data = _object(body).get("data")
    except RequestFailed:
        return ()
    rows = data if isinstance(data, list) else []
    return tuple(row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str))


def _object(body: bytes) -> dict[str, Any]:
    if _PAGE.match(body):
        raise RequestFailed(Problem("path", "a web page", 200))
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise bad_answer(f"a reply that is no JSON object: {body[:100].decode(errors='replace')!r}")
    return content


def _usage(reported: Any) -> Usage | None:
    """Return a reported usage; OpenAI's two APIs and Mistral's name its parts differently."""
    if not isinstance(reported, dict):
        return None
    usage = Usage(
        input_tokens=_count(reported, "prompt_tokens", "input_tokens"),
        output_tokens=_count(reported, "completion_tokens", "output_tokens"),
        audio_s=_count(reported, "prompt_audio_seconds", "seconds"),
    )
    return None if usage == Usage() else usage


def _count(reported: dict[str, Any], *names: str) -> int:
    values = (reported.get(name) for name in names)
    return next((int(value) for value in values if isinstance(value, int | float) and value > 0), 0)
