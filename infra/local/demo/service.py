"""A small production speech-to-text service, as a customer would write it: `retune_client` and a recogniser.

It loads whatever model is stable, transcribes calls, and reports errors, a random sample of all calls and traffic. The
agent who takes the call corrects a wrong transcript: that is where the references come from.
"""

from dataclasses import dataclass
from pathlib import Path

from retune_client import ErrorReporter, ModelRouter, Utterance

from infra.local.corpus import Utterance as Spoken
from infra.local.demo.speech_source import duration_s, wav_bytes
from shared.objectstore import ObjectStore
from shared.wer import ErrorCounts, count_word_errors
from trainer.recogniser import Recogniser


@dataclass(frozen=True)
class Call:
    """One served call: what was said, what was heard, and by which version."""

    spoken: Spoken
    hypothesis: str
    version: int
    errors: ErrorCounts


def load_model(folder: Path, _version: int) -> Recogniser:
    """Load a verified model folder."""
    return Recogniser.load(folder)


class SpeechService:
    """Serves calls with the model that production names.

    Args:
        project: project of the topics.
        registry: bucket name of the registry.
        calls: store for the audio of calls; `calls_uri` is its address in events.
        cache: folder for models and the reporter's spool.
        sample_rate: share of all calls that are published as a sample.
        subscription: full name of this service's subscription on `model-events`.
    """

    def __init__(self, *, project: str, registry: str, calls: ObjectStore, cache: Path, sample_rate: float, subscription: str) -> None:
        self._calls = calls
        self.router: ModelRouter[Recogniser] = ModelRouter(registry, cache / "models", load_model, poll_s=5.0, subscription=subscription)
        self.reporter = ErrorReporter(project, sample_rate=sample_rate, traffic_interval_s=5.0, spool_dir=cache / "spool")
        self._served = 0

    def serve(self, batch: list[Spoken]) -> list[Call]:
        """Transcribe some calls, keep their audio and report what there is to report.

        Every call is a session of its own, for which the router chooses: during a canary two models serve side by side.
        """
        names = [f"call-{self._served + number:06d}" for number in range(1, len(batch) + 1)]
        self._served += len(batch)
        chosen = [self.router.choose(name) for name in names]
        calls: dict[str, Call] = {}
        for served in {each.version: each for each in chosen}.values():
            mine = [(name, spoken) for name, spoken, each in zip(names, batch, chosen, strict=True) if each.version == served.version]
            hypotheses = served.model.transcribe([spoken.audio for _, spoken in mine])
            for (name, spoken), text in zip(mine, hypotheses, strict=True):
                calls[name] = Call(spoken, text, served.version, count_word_errors(spoken.text, text))
        for name in names:
            self._report(name, calls[name])
        return [calls[name] for name in names]

    def _report(self, name: str, call: Call) -> None:
        key = f"{name}.wav"
        self._calls.put(key, wav_bytes(call.spoken), content_type="audio/wav")
        utterance = Utterance(
            utterance_id=name,
            audio_uri=f"{self._calls.uri}/{key}",
            hypothesis=call.hypothesis,
            model_version=call.version,
            speaker_id=call.spoken.caller.speaker_id,
            session_id=name,
            duration_s=round(duration_s(call.spoken), 3),
            language="en",
        )
        self.reporter.observe(utterance)
        if call.errors.errors:
            self.reporter.report_error(utterance, error_type="corrected_by_agent", reference=call.spoken.text, reference_provenance="human")

    def close(self) -> None:
        """Stop following production, and publish what waits."""
        self.reporter.close()
        self.router.close()
