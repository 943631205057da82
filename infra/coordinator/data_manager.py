"""Where a coordinator's data lie, and how a service's errors come in: through the collector's own handler.

folder/retune-folder/         every object, as it would lie in a bucket of that name
folder/retune-folder-calls/   recordings of reported utterances, each under its digest
folder/*.log                  what the functions said
"""

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from functions.collector.handler import Collector
from functions.crossing import stable_version
from functions.runtime import Ports
from infra.coordinator.quiet import logging_to
from infra.errors import Refused
from infra.session import check_reachable, read_settings
from shared import ledger
from shared.audio_source import AudioSource
from shared.bus import Message, Outgoing
from shared.cas import create
from shared.clock import Clock, SystemClock
from shared.config import Settings
from shared.dir_store import DirStore
from shared.documents import sha256_hex
from shared.events import Event, SttCorrection, SttError, SttSample, SttTraffic
from shared.head import read_head
from shared.ids import new_token
from shared.messages import outgoing
from shared.objectstore import ObjectStore
from shared.stores import open_store
from shared.totals import Totals

FOLDER = Path(".retune/coordinator")
BUCKET, CALLS = "retune-folder", "retune-folder-calls"
_SECONDS_BETWEEN_COUNTS = 3600.0
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")


class _FolderStore(DirStore):
    """A folder under a bucket's name: what is pinned by `gs://` has a generation, a plain file has none."""

    def __init__(self, directory: Path, name: str, clock: Clock) -> None:
        super().__init__(directory / name, clock=clock)
        self._name = name

    @property
    def uri(self) -> str:
        """Address of the store, which only this process's `DataManager` resolves."""
        return f"gs://{self._name}"


class _Nobody:
    """Takes what nobody waits for: a crossing is a level, at which the orchestrator looks when it is asked to."""

    def publish(self, message: Outgoing) -> str:
        """Return an id."""
        return f"{message.topic}-{new_token()}"


class DataManager:
    """A folder of this machine, or with `use_gcs` the bucket that the environment names; it lives on when the process ends.

    Args:
        use_gcs: False = `directory`; True = the bucket in RETUNE_BUCKET, with the other variables of `retune env`.
        directory: for everything that is kept on this machine.
        clock: tells the time.
    """

    def __init__(self, use_gcs: bool = False, *, directory: Path | str = FOLDER, clock: Clock | None = None) -> None:  # noqa: FBT001, FBT002 - the guide's call
        self.use_gcs = use_gcs
        self.directory = Path(directory).absolute()
        self.clock: Clock = clock or SystemClock()

    @cached_property
    def settings(self) -> Settings:
        """What the functions are told.

        Raises:
            Unreachable: with `use_gcs`, a variable is missing or wrong, or the emulator that it names does not answer.
        """
        if not self.use_gcs:
            return Settings(
                bucket=f"gs://{BUCKET}", project="in-this-process", audio_prefixes=(f"gs://{CALLS}",), linger_s=0, **self._timing()
            )
        settings = read_settings()
        check_reachable("STORAGE_EMULATOR_HOST", os.environ.get("STORAGE_EMULATOR_HOST"))
        return settings.model_copy(update=self._timing())

    def _timing(self) -> dict[str, Any]:
        return {"count_interval_s": _SECONDS_BETWEEN_COUNTS, "work_dir": self.directory / "work"}

    @cached_property
    def store(self) -> ObjectStore:
        """Every object."""
        return open_store(self.settings.bucket) if self.use_gcs else _FolderStore(self.directory, BUCKET, self.clock)

    @cached_property
    def _calls(self) -> ObjectStore:
        return _FolderStore(self.directory, CALLS, self.clock)

    @cached_property
    def audio(self) -> AudioSource:
        """The recordings that may be used."""
        return AudioSource(self.open_store, self._ports.audio_prefixes)

    @property
    def _ports(self) -> Ports:
        return Ports(self.store, _Nobody(), self.clock, self.settings)

    def open_store(self, uri: str) -> ObjectStore:
        """Return the store at an address; ours is the very one that everything else uses."""
        if self.use_gcs:
            return open_store(uri)
        return {self.store.uri: self.store, self._calls.uri: self._calls}[uri]

    @cached_property
    def _collector(self) -> Collector:
        return Collector(self._ports, self.audio.check)

    @property
    def log_path(self) -> Path:
        """Where the functions' log lines go."""
        return self.directory / "functions.log"

    def report_error(
        self,
        audio: Path | str,
        hypothesis: str,
        *,
        reference: str | None = None,
        provenance: Literal["human", "llm"] = "human",
        **details: Any,
    ) -> str:
        """Report an utterance that was transcribed wrongly; return its utterance_id.

        Args:
            audio: a file, whose bytes are kept, or the address gs://bucket/key; mono at 16 kHz.
            hypothesis: what the service heard.
            reference: what was really said; None = nobody knows yet.
            provenance: whose word the reference is.
            details: other fields of `shared.events.SttError`: utterance_id, speaker_id, session_id, model_version, error_type, ...

        Raises:
            InvalidMessage: a field is not one, or the audio lies where it may not.
            Refused: the model_version is not told and nothing is stable yet, or a local file is named where only a bucket's will do.
        """
        told: dict[str, Any] = {} if reference is None else {"reference": reference, "reference_provenance": provenance}
        return self._report_utterance(SttError, audio, hypothesis, {**told, **details})

    def report_sample(self, audio: Path | str, hypothesis: str, *, sample_rate: float, **details: Any) -> str:
        """Report an utterance that was drawn at random from all traffic, with the chance that it had; see `report_error`."""
        return self._report_utterance(SttSample, audio, hypothesis, {"sample_rate": sample_rate, **details})

    def report_correction(self, utterance_id: str, reference: str) -> None:
        """Report what was really said in an utterance that was or will be reported."""
        self.report(SttCorrection(**self._identity(), utterance_id=utterance_id, reference=reference))

    def report_traffic(self, utterances: int, interval_s: float, *, model_version: int | None = None) -> None:
        """Report how many utterances a version (None = the stable one) served in an interval that ends now: the rate's denominator."""
        version = self._version() if model_version is None else model_version
        self.report(SttTraffic(**self._identity(), model_version=version, utterances=utterances, interval_s=interval_s))

    def report(self, event: Event) -> None:
        """Take an event of the topic `stt-errors` as it comes.

        Raises:
            InvalidMessage: it can never be used.
        """
        sent = outgoing(event)
        with logging_to(self.log_path):
            self._collector(Message(sent.data, sent.attributes, new_token(), self.clock.now()))

    def statistics(self) -> Totals:
        """Return how much has been collected for the next cycle."""
        return ledger.count(self.store, read_head(self.store))

    def _report_utterance(self, kind: type[SttError | SttSample], audio: Path | str, hypothesis: str, details: Mapping[str, Any]) -> str:
        utterance_id = str(details.get("utterance_id") or new_token())
        version = details["model_version"] if "model_version" in details else self._version()
        fields = {**details, "utterance_id": utterance_id, "model_version": version, "hypothesis": hypothesis}
        unknown = sorted(set(fields) - set(kind.model_fields))
        if unknown:
            raise TypeError(f"{kind.__name__}: expected some of {', '.join(kind.model_fields)}, found {', '.join(unknown)}")
        self.report(kind(**{**self._identity(), **fields, "audio_uri": self._kept(audio)}))
        return utterance_id

    def _identity(self) -> dict[str, Any]:
        return {"event_id": new_token(), "occurred_at": self.clock.now()}

    def _version(self) -> int:
        version = stable_version(self._ports)
        if version is None:
            raise Refused("model_version: expected one, since no model is stable: ModelDeployer.import_model brings the first")
        return version

    def _kept(self, audio: Path | str) -> str:
        """Return the address of a recording; a local file's bytes are kept, whatever becomes of it."""
        if isinstance(audio, str) and audio.startswith(("gs://", "file://")):
            return audio  # the collector says whether it may lie there
        if self.use_gcs:
            raise Refused(f"audio {audio}: expected gs://bucket/key under {', '.join(self.settings.audio_prefixes)}, found a local file")
        data = Path(audio).read_bytes()
        key = f"{sha256_hex(data)}{suffix_of(str(audio))}"
        create(self._calls, key, data)
        return f"{self._calls.uri}/{key}"


def suffix_of(name: str) -> str:
    """Return the end of a recording's name that tells its kind, as `.wav`; empty where it ends otherwise, whatever that is. Pure."""
    found = _SUFFIX.search(name)
    return found[0].lower() if found else ""
