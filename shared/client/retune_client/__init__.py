"""Retune's client: reports a speech-to-text service's errors and serves the models that come back."""

from retune_client.errors import InvalidDocumentError, ModelRefusedError, NoModelError, ObjectMissingError, RetuneClientError
from retune_client.events import Utterance
from retune_client.reporter import ErrorReporter, ReporterStats
from retune_client.router import ModelRouter, RouterStatus
from retune_client.routing import Served
from retune_client.store import GcsModelStore, ModelStore

__all__ = [
    "ErrorReporter",
    "GcsModelStore",
    "InvalidDocumentError",
    "ModelRefusedError",
    "ModelRouter",
    "ModelStore",
    "NoModelError",
    "ObjectMissingError",
    "ReporterStats",
    "RetuneClientError",
    "RouterStatus",
    "Served",
    "Utterance",
]
