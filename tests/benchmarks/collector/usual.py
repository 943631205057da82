"""(c) The usual way: each event is an object of its own, and a counter object is read, raised and written by compare-and-swap."""

import base64
import json
import os
from functools import cache
from typing import Any

import functions_framework
from flask import Request
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud import storage
from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

COUNTER = "counter.json"


@cache
def bucket() -> Any:
    """Make the client at the first request."""
    return storage.Client().bucket(os.environ["RETUNE_BUCKET"].removeprefix("gs://"))


def count_one() -> None:
    """Raise the counter by one. Raises PreconditionFailed where another request was faster."""
    blob = bucket().blob(COUNTER)
    try:
        count, generation = json.loads(blob.download_as_bytes())["events"], blob.generation
    except NotFound:
        count, generation = 0, 0
    blob.upload_from_string(json.dumps({"events": count + 1}), content_type="application/json", if_generation_match=generation)


@functions_framework.http
def entry(request: Request) -> tuple[str, int]:
    """Store the event, count it, answer."""
    message = request.get_json()["message"]
    event = base64.b64decode(message["data"])
    bucket().blob(f"errors/{message['messageId']}.json").upload_from_string(event, content_type="application/json")
    retrying = Retrying(
        retry=retry_if_exception_type(PreconditionFailed), wait=wait_random_exponential(multiplier=0.1, max=2.0), reraise=True
    )
    retrying(count_one)
    return "", 204
