"""Settings of a launcher on Google Cloud, as Terraform gives them."""

from typing import Any

from shared.config import Settings
from shared.policy import Policy
from shared.trainer_machines import TrainerMachine
from tests.google_api.compute import PROJECT

IMAGE = f"europe-west4-docker.pkg.dev/{PROJECT}/retune-trainer/trainer@sha256:{'a' * 64}"


def machines(*texts: str) -> tuple[TrainerMachine, ...]:
    """Return machines from "a spot" or "a standard g2-standard-24"."""
    made = []
    for text in texts:
        letter, provisioning, *machine = text.split()
        values = {
            "zone": f"europe-west4-{letter}",
            "machine_type": machine[0] if machine else "g2-standard-8",
            "provisioning": provisioning,
        }
        made.append(TrainerMachine.model_validate(values))
    return tuple(made)


EVERYWHERE = machines("a spot", "b spot", "c spot", "a standard", "b standard", "c standard")


def google_settings(
    *, machines: tuple[TrainerMachine, ...] = EVERYWHERE, image: str = IMAGE, launcher: str = "compute_engine", **policy: Any
) -> Settings:
    return Settings.model_validate(
        {
            "bucket": "gs://speech-1-retune-prod",
            "project": PROJECT,
            "audio_prefixes": ("gs://calls",),
            "policy": Policy.model_validate(policy),
            "launcher": launcher,
            "trainer_image": image,
            "trainer_service_account": f"retune-trainer@{PROJECT}.iam.gserviceaccount.com",
            "trainer_network": f"projects/{PROJECT}/global/networks/retune-trainer",
            "trainer_subnetwork": f"projects/{PROJECT}/regions/europe-west4/subnetworks/retune-trainer",
            "trainer_machines": machines,
        }
    )
