"""The VM of one attempt, as Compute Engine is asked for it. Pure: no call is made here."""

from google.cloud import compute_v1

from functions.launcher.compute_engine.cloud_init import render_user_data
from functions.launcher.trainers import TrainerRun
from shared.config import Settings
from shared.trainer_machines import TrainerMachine

SOURCE_IMAGE = "projects/cos-cloud/global/images/family/cos-stable"
"""Container-Optimized OS: its GPU drivers are signed, so that secure boot stays on."""
DISK_GB = 100
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_HYPERDISK = ("g4-", "a4-", "a3-ultragpu-")
"""Machines that take no persistent disk. Source: Compute Engine, disk types of each machine series."""
MODELS = {"spot": "SPOT", "standard": "STANDARD"}


def build_instance(settings: Settings, run: TrainerRun, machine: TrainerMachine) -> compute_v1.Instance:
    """Return the request for one machine.

    It ends by itself: the trainer deletes it, Compute Engine does after `max_attempt_s` and when Spot takes it away.
    """
    zone = f"projects/{settings.project}/zones/{machine.zone}"
    return compute_v1.Instance(
        name=run.name,
        description=f"Retune: attempt {run.attempt} of cycle {run.cycle}.",
        machine_type=f"{zone}/machineTypes/{machine.machine_type}",
        labels={"app": "retune", "part": "trainer", "cycle": str(run.cycle), "attempt": str(run.attempt)},
        disks=[_boot_disk(zone, machine)],
        network_interfaces=[
            # No access configuration: no public address.
            compute_v1.NetworkInterface(
                network=settings.trainer_network, subnetwork=settings.trainer_subnetwork, nic_type="GVNIC", stack_type="IPV4_ONLY"
            )
        ],
        service_accounts=[compute_v1.ServiceAccount(email=settings.trainer_service_account, scopes=[SCOPE])],
        scheduling=_scheduling(machine, round(settings.policy.max_attempt_s)),
        shielded_instance_config=compute_v1.ShieldedInstanceConfig(
            enable_secure_boot=True, enable_vtpm=True, enable_integrity_monitoring=True
        ),
        metadata=_metadata(
            {
                "user-data": render_user_data(settings, run, machine.kind),
                "google-logging-enabled": "true",
                "block-project-ssh-keys": "true",
                "cos-update-strategy": "update_disabled",
            }
        ),
    )


def _boot_disk(zone: str, machine: TrainerMachine) -> compute_v1.AttachedDisk:
    kind = "hyperdisk-balanced" if machine.machine_type.startswith(_HYPERDISK) else "pd-balanced"
    made_from = compute_v1.AttachedDiskInitializeParams(
        source_image=SOURCE_IMAGE, disk_size_gb=DISK_GB, disk_type=f"{zone}/diskTypes/{kind}"
    )
    return compute_v1.AttachedDisk(boot=True, auto_delete=True, initialize_params=made_from)


def _scheduling(machine: TrainerMachine, longest_s: int) -> compute_v1.Scheduling:
    """Return when the machine ends. In one piece: a later assignment would take the first one's settings away."""
    return compute_v1.Scheduling(
        provisioning_model=MODELS[machine.provisioning],
        instance_termination_action="DELETE",
        max_run_duration=compute_v1.Duration(seconds=longest_s),
        on_host_maintenance="TERMINATE",  # a GPU cannot be migrated
        automatic_restart=False,
    )


def _metadata(items: dict[str, str]) -> compute_v1.Metadata:
    return compute_v1.Metadata(items=[compute_v1.Items(key=key, value=value) for key, value in items.items()])
