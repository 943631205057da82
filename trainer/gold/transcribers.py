"""Two kinds of model behind the port `GoldTranscriber`: a chat model and a transcription model."""

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from shared.documents import sha256_hex
from shared.errors import CorruptObject
from shared.gold import GoldConfig
from trainer.gold.problems import RequestFailed
from trainer.gold.prompt import Dialect, chat_fields, next_dialect, transcription_fields
from trainer.gold.question import GoldQuestion, GoldTranscriber, Reply
from trainer.gold.replies import parse_chat, parse_transcription

if TYPE_CHECKING:
    from trainer.gold.endpoint import Endpoint

_NOT_UNDERSTOOD = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
"""With these an endpoint refuses what it does not know; it may take the same request in other words."""


def open_endpoint(config: GoldConfig, environ: Mapping[str, str], monotonic: Callable[[], float] = time.monotonic) -> "Endpoint":
    """Return the endpoint that `config` names; nothing is sent yet.

    Args:
        config: how to ask.
        environ: holds the key, under the name that `config` gives.
        monotonic: a clock in seconds.

    Raises:
        GoldUnavailable: (key, address) the key or the address cannot be one.
    """
    from trainer.gold.endpoint import Endpoint, find_key  # the SDK takes half a second to load

    return Endpoint(config, find_key(config, environ), monotonic)


def transcriber_at(endpoint: "Endpoint", config: GoldConfig) -> GoldTranscriber:
    """Return the kind of transcriber that `config` names."""
    return ChatTranscriber(config, endpoint) if config.kind == "chat" else SpeechTranscriber(config, endpoint)


def open_transcriber(config: GoldConfig, environ: Mapping[str, str]) -> GoldTranscriber:
    """Return the transcriber that `config` names; see `open_endpoint`."""
    return transcriber_at(open_endpoint(config, environ), config)


class ChatTranscriber:
    """Asks a chat model to correct the hypothesis, by ear where `send_audio` is set."""

    def __init__(self, config: GoldConfig, endpoint: "Endpoint") -> None:
        self.config = config
        self._endpoint = endpoint
        self._dialect = Dialect()

    @property
    def requests(self) -> int:
        """See `GoldTranscriber.requests`."""
        return self._endpoint.requests

    def ask(self, question: GoldQuestion, sample: int) -> Reply:
        """See `GoldTranscriber.ask`."""
        audio = _audio(question) if self.config.send_audio else None
        return parse_chat(self._ask_in_its_dialect(question, sample, audio))

    def _ask_in_its_dialect(self, question: GoldQuestion, sample: int, audio: bytes | None) -> bytes:
        """Send the request, in other words where the endpoint refuses these, and remember the words that it took.

        Only words that were taken are remembered: a refusal may be about this one clip. When all are refused, the first refusal tells.
        """
        dialect: Dialect | None = self._dialect
        first: RequestFailed | None = None
        while dialect:
            try:
                body = self._endpoint.chat(chat_fields(self.config, question, sample, dialect, audio))
            except RequestFailed as failure:
                if failure.problem.kind != "refused" or failure.problem.status not in _NOT_UNDERSTOOD:
                    raise
                first = first or failure
                dialect = next_dialect(dialect, failure.problem.detail)
            else:
                self._dialect = dialect
                return body
        assert first
        raise first


class SpeechTranscriber:
    """Asks a transcription model, which is not told the hypothesis."""

    def __init__(self, config: GoldConfig, endpoint: "Endpoint") -> None:
        self.config = config
        self._endpoint = endpoint

    @property
    def requests(self) -> int:
        """See `GoldTranscriber.requests`."""
        return self._endpoint.requests

    def ask(self, question: GoldQuestion, sample: int) -> Reply:  # noqa: ARG002 - what makes samples differ is the temperature alone
        """See `GoldTranscriber.ask`."""
        return parse_transcription(self._endpoint.transcribe(transcription_fields(self.config, _audio(question))))


def _audio(question: GoldQuestion) -> bytes:
    data = question.read_audio()
    found = sha256_hex(data)
    if found != question.audio_sha256:
        raise CorruptObject(f"audio of {question.utterance_id}: expected sha256 {question.audio_sha256}, found {found}: read it anew")
    return data
