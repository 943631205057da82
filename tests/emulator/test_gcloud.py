"""The real `gcloud pubsub` against our server, as a person types it. About a second a command: few, long histories."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.pubsub_server import PubSubServer
from shared.clock import SystemClock
from shared.testing.memory_bus import MemoryBus

pytestmark = pytest.mark.emulator

Gcloud = Callable[..., Any]


class GcloudError(Exception):
    """What gcloud wrote to stderr."""


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(SystemClock(), "laptop")


@pytest.fixture
def gcloud(bus: MemoryBus, tmp_path: Path) -> Iterator[Gcloud]:
    """`gcloud pubsub ... --format=json` without an account, settings in a folder of its own."""
    executable = shutil.which("gcloud")
    if executable is None:
        if os.environ.get("RETUNE_REQUIRE_EMULATOR") == "1":
            pytest.fail("RETUNE_REQUIRE_EMULATOR=1: expected gcloud on the PATH, found none")
        pytest.skip("gcloud is not installed")
    with PubSubServer(bus) as server:
        environment = {
            **os.environ,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": server.rest_url,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CONFIG": str(tmp_path),
            "CLOUDSDK_CORE_PROJECT": "laptop",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        }

        def run(*arguments: str) -> Any:
            command = [executable, "pubsub", *arguments, "--format=json"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
            if done.returncode:
                raise GcloudError(done.stderr)
            return json.loads(done.stdout or "null")

        yield run


def test_a_person_forces_a_run_and_reads_it_back(gcloud: Gcloud) -> None:
    assert gcloud("topics", "create", "finetune-triggers")[0]["name"] == "projects/laptop/topics/finetune-triggers"
    created = gcloud("subscriptions", "create", "launcher", "--topic=finetune-triggers", "--ack-deadline=20")
    assert created[0]["topic"] == "projects/laptop/topics/finetune-triggers"
    published = gcloud("topics", "publish", "finetune-triggers", '--message={"force": true}', "--attribute=by=ada")
    pulled = gcloud("subscriptions", "pull", "launcher", "--limit=5")
    message = pulled[0]["message"]
    assert (message["data"], message["attributes"]) == ("eyJmb3JjZSI6IHRydWV9", {"by": "ada"})
    assert published["messageIds"] == [message["messageId"]]
    gcloud("subscriptions", "ack", "launcher", f"--ack-ids={pulled[0]['ackId']}")
    assert gcloud("topics", "list-subscriptions", "finetune-triggers") == ["projects/laptop/subscriptions/launcher"]


def test_an_operator_makes_a_subscription_with_all_its_policies(bus: MemoryBus, gcloud: Gcloud) -> None:
    bus.create_topic("stt-errors")
    bus.create_topic("collector-dead")
    policies = ["--dead-letter-topic=collector-dead", "--max-delivery-attempts=100", "--min-retry-delay=10s", "--max-retry-delay=600s"]
    endpoint = "--push-endpoint=http://127.0.0.1:9/collector"
    gcloud("subscriptions", "create", "collector", "--topic=stt-errors", endpoint, *policies)
    config = bus.engine.subscription("projects/laptop/subscriptions/collector")
    assert config.push_endpoint == "http://127.0.0.1:9/collector"
    assert (config.dead_letter, config.backoff) != (None, None)
    gcloud("subscriptions", "update", "collector", "--ack-deadline=60")
    listed = gcloud("subscriptions", "list")
    assert [(each["name"], each["ackDeadlineSeconds"]) for each in listed] == [("projects/laptop/subscriptions/collector", 60)]
    assert listed[0]["deadLetterPolicy"] == {"deadLetterTopic": "projects/laptop/topics/collector-dead", "maxDeliveryAttempts": 100}
    assert [topic["name"] for topic in gcloud("topics", "list")] == [
        "projects/laptop/topics/collector-dead",
        "projects/laptop/topics/stt-errors",
    ]
    gcloud("subscriptions", "delete", "collector")
    assert bus.engine.subscriptions() == []


def test_gcloud_shows_the_servers_own_words_for_an_error(gcloud: Gcloud) -> None:
    with pytest.raises(GcloudError, match="Topic not found: projects/laptop/topics/nowhere"):
        gcloud("topics", "publish", "nowhere", "--message=x")
