"""Gold transcripts from a language or speech model: how to ask, what was answered, and what became of each answer.

An answer is a proposal. `trainer.gold` asks and decides; launcher and people read and write these documents.
"""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from shared.documents import Frozen

GoldDecision = Literal["accepted", "rejected", "review"]


class GoldBudget(Frozen):
    """What asking may cost; a request whose worst case does not fit any more is not sent.

    Attributes:
        max_tokens: input and output together; None = no limit.
        max_usd: needs at least one of the prices below; None = no limit.
        usd_per_million_input_tokens, usd_per_million_output_tokens, usd_per_audio_minute: the endpoint's prices.
    """

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_usd: Annotated[float, Field(gt=0)] | None = None
    usd_per_million_input_tokens: Annotated[float, Field(ge=0)] = 0.0
    usd_per_million_output_tokens: Annotated[float, Field(ge=0)] = 0.0
    usd_per_audio_minute: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _prices_are_known(self) -> Self:
        prices = (self.usd_per_million_input_tokens, self.usd_per_million_output_tokens, self.usd_per_audio_minute)
        if self.max_usd is not None and not any(prices):
            raise ValueError("max_usd: expected a price to count with, found none: set a usd_per_... field beside it")
        return self


class GoldConfig(Frozen):
    """How to ask an OpenAI-compatible endpoint.

    Attributes:
        kind: `chat` posts to /chat/completions, `transcription` posts the audio to /audio/transcriptions (Voxtral, Whisper).
        base_url: up to and without that path, as https://api.mistral.ai/v1; it stands in records and so holds no key.
        model: pinned id.
        api_key_env: name of the environment variable that holds the key; the key itself is never stored.
        send_audio: a chat model that hears gets the audio beside the hypothesis.
        language: ISO 639-1 of the speech; None = the model guesses.
        terms: names and words of the trade that may occur.
        samples: answers asked for each clip; they must agree, since what a model invents it invents anew each time.
        min_agreement: share of the samples that must be the same after normalisation.
        temperature: of the samples; several samples at 0 would be one sample and are refused.
        max_answer_tokens: a chat answer that is longer is cut off, and then counts as no answer.
        concurrency: requests under way at once.
        timeout_s: for one request, to its last byte.
        tries: for one request whose failure may pass (429, 5xx, connection, time-out, an answer that is not what was asked for).
    """

    kind: Literal["chat", "transcription"] = "chat"
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    model: Annotated[str, Field(min_length=1)]
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "RETUNE_LLM_API_KEY"
    send_audio: bool = False
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None
    terms: tuple[str, ...] = ()
    samples: Annotated[int, Field(ge=1, le=20)] = 3
    min_agreement: Annotated[float, Field(gt=0, le=1)] = 0.6
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    max_answer_tokens: Annotated[int, Field(ge=16)] = 512
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    tries: Annotated[int, Field(ge=1, le=20)] = 5
    budget: GoldBudget = GoldBudget()

    @property
    def hears(self) -> bool:
        """The audio is sent."""
        return self.kind == "transcription" or self.send_audio

    @field_validator("base_url")
    @classmethod
    def _is_a_bare_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:  # reading the port raises ValueError where it is none
            raise ValueError(f"expected https://host[:port]/path, found {url!r}")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("expected neither a user name nor a query in the address: put the key into the variable api_key_env")
        bare = url.rstrip("/")
        if bare.endswith(("/chat/completions", "/audio/transcriptions")):
            raise ValueError(f"expected the address without the request's path, found {url!r}: leave out its last two parts")
        return bare

    @field_validator("model")
    @classmethod
    def _is_pinned(cls, model: str) -> str:
        if model.endswith("-latest"):
            raise ValueError(
                f"expected a pinned id, found {model!r}, which means another one every few months: `retune llm-check` lists ids"
            )
        return model

    @model_validator(mode="after")
    def _samples_can_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("temperature: expected more than 0 with several samples, found 0: set samples to 1, or a temperature")
        return self


class AcousticScores(Frozen):
    """What the base model's frames say of a text (`trainer.gold.filter`), natural logarithms.

    Attributes:
        margin: (best path through the text - best path of all) / frames, at most 0 (MMS form). Sees omissions.
        worst_word: least of the words' mean over their characters of the best log-probability on the aligned frames, at most 0.
        worst_gap: between, before and after the letters of the text, the stretch of frames in which the best output exceeds silence
            (blank or delimiter) most: the sum of the differences, negated, at most 0. Sees single omitted words in noise, which the
            margin does not.
        cer: character error rate between the text and the greedy transcript.
    """

    margin: Annotated[float, Field(le=0)]
    worst_word: Annotated[float, Field(le=0)]
    worst_gap: Annotated[float, Field(le=0)]
    cer: Annotated[float, Field(ge=0)]


class GoldRecord(Frozen):
    """One line of `runs/n/gold.jsonl`: a clip, what was proposed, and what became of it.

    Attributes:
        text: accepted or proposed; None where nothing usable was answered.
        provenance: a model's, always; a person's word comes as a correction.
        model, prompt_sha256: who was asked and how; None where nobody was.
        samples: every answer, normalised.
        agreement: share of the samples that are `text`.
        scores: None where the text cannot be aligned.
        reason: why it was decided so.
    """

    utterance_id: str
    decision: GoldDecision
    provenance: Literal["llm"] = "llm"
    text: str | None = None
    model: str | None = None
    prompt_sha256: str | None = None
    samples: tuple[str, ...] = ()
    agreement: float | None = None
    scores: AcousticScores | None = None
    reason: str = ""


class ReviewItem(Frozen):
    """A clip that a person must hear: what `retune review` lists, and a line of a folder run's `review.jsonl`.

    Attributes:
        audio: where to hear it.
        hypothesis: what the recogniser heard.
        reason: why a person.
        proposed: what most samples said; None where there was no usable answer.
        samples: all that was answered.
    """

    utterance_id: str
    audio: str
    hypothesis: str
    reason: str
    proposed: str | None = None
    samples: tuple[str, ...] = ()
