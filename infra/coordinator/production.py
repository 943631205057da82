"""Whoever serves the models: services that follow `model-events`, and functions that may be deployed over the same bucket [io]."""

import os

from functions.wiring import subscription_name
from infra.coordinator.data_manager import DataManager
from infra.errors import Refused
from infra.session import check_reachable
from shared.bus import Outgoing
from shared.errors import NotFound
from shared.events import FINETUNE_TRIGGERS

LOOK_S = 10.0


class Production:
    """The outside of a bucket; of a folder there is none.

    Args:
        data: where everything lies.
        project_id: of the topics; None = as the environment says.

    Raises:
        Refused: a project is named for a folder, or functions are deployed in the project.
        Unreachable: an emulator that the environment names does not answer.
    """

    def __init__(self, data: DataManager, project_id: str | None) -> None:
        self._project = project_id or (data.settings.project if data.use_gcs else None)
        if not data.use_gcs:
            if project_id is not None:
                raise Refused(f"project_id: expected none with use_gcs=False, which has no topics, found {project_id!r}")
            return
        check_reachable("PUBSUB_EMULATOR_HOST", os.environ.get("PUBSUB_EMULATOR_HOST"))
        from shared.pubsub import PubSubBus

        self._bus = PubSubBus(str(self._project), timeout_s=LOOK_S)
        if self._has_launcher():
            raise Refused(
                f"project {self._project}: functions are deployed there, whose sweeper ends a trainer that it did not start; "
                "ask them with `retune trigger`, `retune promote` and `retune status`, or take a bucket of your own"
            )

    def tell(self, message: Outgoing) -> None:
        """Tell production of a move of the alias, where it may hear of it.

        Raises:
            Refused: there is no such topic.
        """
        if self._project is None:
            return
        try:
            self._bus.publish(message)
        except NotFound as error:
            raise Refused(f"{error}: make the topic, so that services hear of new models") from error

    def _has_launcher(self) -> bool:
        from google.api_core.exceptions import NotFound as Missing
        from google.cloud.pubsub_v1 import SubscriberClient

        name = f"projects/{self._project}/subscriptions/{subscription_name('launcher', FINETUNE_TRIGGERS)}"
        with SubscriberClient() as client:
            try:
                client.get_subscription(request={"subscription": name}, timeout=LOOK_S)
            except Missing:
                return False
        return True
