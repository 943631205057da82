"""Where trainers may run on Google Cloud: zone, machine type and provisioning, in the order in which they are tried. Pure."""

from typing import Annotated

from pydantic import AfterValidator, Field

from shared.documents import Frozen
from shared.machine import Machine, Provisioning

FAMILIES: dict[str, str] = {
    "g2": "nvidia-l4",
    "g4": "nvidia-rtx-pro-6000",
    "a2": "nvidia-a100",
    "a3": "nvidia-h100",
    "a4": "nvidia-b200",
}
"""Families that bring their GPU, and which: nothing needs to be attached to them. Source: Compute Engine's GPU machine types."""


def _check_family(machine_type: str) -> str:
    if machine_type.partition("-")[0] not in FAMILIES:
        raise ValueError(
            f"expected a machine type that brings its GPU ({', '.join(f'{family}-...' for family in FAMILIES)}), found {machine_type}: "
            "take g2-standard-8 (one L4) or a2-highgpu-1g (one A100)"
        )
    return machine_type


class TrainerMachine(Frozen):
    """A machine that may train.

    Attributes:
        zone: as europe-west4-a.
        machine_type: of a family that brings its GPU.
        provisioning: `spot` is cheap and may be taken away, `standard` stays.
    """

    zone: Annotated[str, Field(pattern=r"^[a-z]+(-[a-z]+)+[0-9]+-[a-z][a-z0-9]*$")]
    machine_type: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$"), AfterValidator(_check_family)]
    provisioning: Provisioning

    @property
    def region(self) -> str:
        """Where its zone lies."""
        return self.zone.rpartition("-")[0]

    @property
    def kind(self) -> Machine:
        """What its price is known by."""
        return Machine(machine_type=self.machine_type, provisioning=self.provisioning)

    @property
    def family(self) -> str:
        """What its machine type begins with, as g2: machines of a family share a kind of GPU, and so a quota."""
        return self.machine_type.partition("-")[0]

    def __str__(self) -> str:
        return f"{self.zone} {self.machine_type} {self.provisioning}"


IMAGE_PATTERN = r"^[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)+@sha256:[0-9a-f]{64}$"
ACCOUNT_PATTERN = r"^[a-z0-9][a-z0-9.-]*@[a-z0-9.-]+\.gserviceaccount\.com$"
NETWORK_PATTERN = r"^projects/[a-z0-9.:-]+/global/networks/[a-z0-9-]+$"
SUBNETWORK_PATTERN = r"^projects/[a-z0-9.:-]+/regions/[a-z0-9-]+/subnetworks/[a-z0-9-]+$"


def region_of_subnetwork(subnetwork: str) -> str:
    """Return the region of a subnetwork's full name."""
    return subnetwork.split("/")[3]


def image_digest(image: str) -> str:
    """Return the digest in an image's reference, as manifests name the code that made a model: `sha256:...`."""
    return image.partition("@")[2]


def build_command(project: str, region: str) -> str:
    """Return what builds the trainer's image and prints its digest."""
    account = f"projects/{project}/serviceAccounts/retune-build@{project}.iam.gserviceaccount.com"
    repository = f"{region}-docker.pkg.dev/{project}/retune-trainer"
    return (
        f"gcloud builds submit --project {project} --region {region} --config trainer/cloudbuild.yaml --service-account {account} "
        f"--substitutions _REPOSITORY={repository} ."
    )
