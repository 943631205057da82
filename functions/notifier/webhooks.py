"""Where notices go: read from the environment, and the one place that sends [io]."""

import json
import os
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

import requests
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from shared.config import LOOPBACK, BadSettings
from shared.documents import Frozen
from shared.errors import Retryable, RetuneError

VARIABLE = "RETUNE_WEBHOOKS"
TIMEOUT_S = 10.0
LATER = frozenset({408, 425, 429})
"""Answers that ask to be asked again."""


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        raise ValueError("expected https://...: notices say how good the models are")
    return url


class Webhook(Frozen):
    """Where notices go.

    Attributes:
        url: secret: whoever knows it can post there.
        form: Slack's, or the notice and its event as JSON.
        secret: signs the body (header X-Retune-Signature); None = not signed.
    """

    url: Annotated[str, AfterValidator(_check_url)]
    form: Literal["slack", "json"] = "json"
    secret: str | None = None

    @property
    def name(self) -> str:
        """What may be logged of it: its host."""
        return urlsplit(self.url).hostname or ""


_WEBHOOKS: TypeAdapter[tuple[Webhook, ...]] = TypeAdapter(Annotated[tuple[Webhook, ...], Field(max_length=10)])


class WebhookRefused(RetuneError):  # noqa: N818 - the taxonomy's names say the fact
    """A webhook will never take this: its address, its secret or its form is wrong."""


def read_webhooks(environ: Mapping[str, str] = os.environ) -> tuple[Webhook, ...]:
    """Read where notices go; nothing set = nowhere.

    Raises:
        BadSettings: it is not a list of webhooks. The text quotes none of it: addresses are secrets.
    """
    raw = environ.get(VARIABLE, "").strip()
    if not raw:
        return ()
    try:
        return _WEBHOOKS.validate_python(json.loads(raw))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or 'list'}: {item['msg']}" for item in error.errors(include_input=False)]
        raise BadSettings(f'{VARIABLE}: expected [{{"url": "https://...", "form": "slack"}}, ...], found {"; ".join(problems)}') from None
    except ValueError as error:
        raise BadSettings(f"{VARIABLE}: expected a JSON list, found other text ({type(error).__name__})") from None


def post(webhook: Webhook, body: bytes, headers: Mapping[str, str]) -> None:
    """Post a notice; redirects are not followed.

    Raises:
        Retryable: it does not answer, or asks to be asked again.
        WebhookRefused: it will never take this.
    """
    try:
        answer = requests.post(
            webhook.url, data=body, headers={"Content-Type": "application/json", **headers}, timeout=TIMEOUT_S, allow_redirects=False
        )
    except requests.RequestException as error:
        raise Retryable(f"webhook {webhook.name}: expected an answer, found {type(error).__name__}") from None
    if answer.status_code >= 500 or answer.status_code in LATER:
        raise Retryable(f"webhook {webhook.name}: expected it to take a notice, found {answer.status_code}")
    if not answer.ok or answer.is_redirect:
        raise WebhookRefused(f"webhook {webhook.name}: expected it to take a notice, found {answer.status_code}: set {VARIABLE} anew")
