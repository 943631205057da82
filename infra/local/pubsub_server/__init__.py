"""A Pub/Sub server for one laptop: a MemoryBus behind the gRPC and REST interfaces that Google's clients and gcloud speak, with push."""

from infra.local.pubsub_server.journal import SqliteJournal
from infra.local.pubsub_server.server import PubSubServer

__all__ = ["PubSubServer", "SqliteJournal"]
