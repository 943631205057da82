"""One frozen `Settings` per deployable, read from the environment once, all problems reported together."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from shared.audio_source import AudioSource
from shared.documents import Frozen
from shared.errors import InvalidMessage, RetuneError
from shared.policy import Policy
from shared.tracing import ENDPOINT_VARIABLE, FILE_VARIABLE
from shared.trainer_machines import (
    ACCOUNT_PATTERN,
    IMAGE_PATTERN,
    NETWORK_PATTERN,
    SUBNETWORK_PATTERN,
    TrainerMachine,
    build_command,
    region_of_subnetwork,
)

VARIABLES = {
    "bucket": "RETUNE_BUCKET",
    "project": "GOOGLE_CLOUD_PROJECT",
    "audio_prefixes": "RETUNE_AUDIO_PREFIXES",
    "policy": "RETUNE_POLICY",
    "launcher": "RETUNE_LAUNCHER",
    "work_dir": "RETUNE_WORK_DIR",
    "count_interval_s": "RETUNE_COUNT_INTERVAL_S",
    "linger_s": "RETUNE_LINGER_S",
    "trainer_image": "RETUNE_TRAINER_IMAGE",
    "trainer_service_account": "RETUNE_TRAINER_SERVICE_ACCOUNT",
    "trainer_network": "RETUNE_TRAINER_NETWORK",
    "trainer_subnetwork": "RETUNE_TRAINER_SUBNETWORK",
    "trainer_machines": "RETUNE_TRAINER_MACHINES",
    "otlp_endpoint": ENDPOINT_VARIABLE,
    "traces_file": FILE_VARIABLE,
}
KEY_SECRET = "retune-llm-key"  # noqa: S105 - the name of a secret, not one
"""Secret of Secret Manager that holds the language model's key; Terraform makes it, a person fills it."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""By which names and addresses a machine reaches itself alone."""
_JSON = {"policy": "object", "trainer_machines": "list"}
_NEEDED = {
    "local": (),
    "compute_engine": ("trainer_service_account", "trainer_network", "trainer_subnetwork", "trainer_machines"),
    "cloud_run": ("trainer_service_account", "trainer_machines"),
}
"""What each launcher cannot do without. The image comes later: it can be built only where everything else is."""


class BadSettings(RetuneError):  # noqa: N818 - the taxonomy's names say the fact
    """The environment does not describe a deployable; the text lists every problem and what to set."""


def _check_prefixes(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    if any("," in prefix for prefix in prefixes):
        raise ValueError("expected no comma, which parts prefixes")
    try:
        AudioSource(allowed_prefixes=prefixes)
    except InvalidMessage as error:
        raise ValueError(str(error)) from error
    return prefixes


def _check_image(image: str) -> str:
    if image and not re.match(IMAGE_PATTERN, image):
        raise ValueError(
            "expected IMAGE@sha256:DIGEST with 64 hexadecimal digits, since a tag may mean other code tomorrow; the build prints it"
        )
    return image


class Settings(Frozen):
    """What a deployable needs to know.

    Attributes:
        bucket: address of the object store, `gs://bucket` (or `file:///dir` in tests).
        project: Google Cloud project of the topics.
        audio_prefixes: an audio_uri must lie under one of these.
        policy: the operator's numbers.
        launcher: what starts the trainer: a process of this machine, a VM or a job.
        work_dir: where the local launcher keeps its processes' records and logs.
        count_interval_s: least time between two counts of the ledger by one collector instance.
        linger_s: how long a flush waits for company.
        trainer_image: `IMAGE@sha256:DIGEST`; empty = none has been built yet, and no cycle is opened.
        trainer_service_account: whom the trainer works as.
        trainer_network, trainer_subnetwork: full names; only VMs need them.
        trainer_machines: machines in the order in which they are tried.
        otlp_endpoint: base address of what takes traces over OTLP and HTTP, trainers' too; empty = nobody does.
        traces_file: that spans are appended to, as lines of JSON; None = none.
    """

    bucket: Annotated[str, Field(pattern=r"^(gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]|file:///.+)$")]
    project: Annotated[str, Field(min_length=1)]
    audio_prefixes: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_check_prefixes)]
    policy: Policy = Policy()
    launcher: Literal["local", "compute_engine", "cloud_run"] = "local"
    work_dir: Path = Path(".retune/work")
    count_interval_s: Annotated[float, Field(ge=0)] = 10.0
    linger_s: Annotated[float, Field(ge=0, le=5)] = 0.02
    trainer_image: Annotated[str, AfterValidator(_check_image)] = ""
    trainer_service_account: Annotated[str, Field(pattern=f"{ACCOUNT_PATTERN}|^$")] = ""
    trainer_network: Annotated[str, Field(pattern=f"{NETWORK_PATTERN}|^$")] = ""
    trainer_subnetwork: Annotated[str, Field(pattern=f"{SUBNETWORK_PATTERN}|^$")] = ""
    trainer_machines: tuple[TrainerMachine, ...] = ()
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:_/-]+$|^$")] = ""
    traces_file: Path | None = None

    @model_validator(mode="after")
    def _check_trainers(self) -> Self:
        missing = [VARIABLES[field] for field in _NEEDED[self.launcher] if not getattr(self, field)]
        if missing:
            raise ValueError(f"{', '.join(missing)}: not set, and {VARIABLES['launcher']}={self.launcher} needs it: run terraform apply")
        if self.launcher != "local" and not self.bucket.startswith("gs://"):
            raise ValueError(f"{VARIABLES['bucket']}: expected gs://bucket, which a machine of Google's can reach, found {self.bucket}")
        if self.launcher == "compute_engine":
            region = region_of_subnetwork(self.trainer_subnetwork)
            elsewhere = ", ".join(sorted({machine.zone for machine in self.trainer_machines if machine.region != region}))
            if elsewhere:
                variable = VARIABLES["trainer_machines"]
                raise ValueError(f"{variable}: expected zones of {region}, where the subnetwork lies, found {elsewhere}")
        if self.launcher == "cloud_run":
            self._check_jobs()
        return self

    def _check_jobs(self) -> None:
        variable = VARIABLES["trainer_machines"]
        regions = sorted({machine.region for machine in self.trainer_machines})
        if len(regions) > 1:
            raise ValueError(f"{variable}: expected zones of one region, where the jobs of Cloud Run lie, found {', '.join(regions)}")
        other = sorted({machine.machine_type for machine in self.trainer_machines if machine.family != "g2"})
        if other:
            raise ValueError(f"{variable}: expected machines with an L4, the GPU of Cloud Run, as g2-standard-8, found {', '.join(other)}")

    @property
    def cannot_train(self) -> str:
        """Why no trainer can be started whatever is asked for, with what to do; empty = one can."""
        if self.launcher == "local" or self.trainer_image:
            return ""
        command = build_command(self.project, self.trainer_machines[0].region)
        return f"no trainer image is set: build it and set trainer_image to the digest that is printed: {command}"

    @property
    def trainers_dir(self) -> Path:
        """Where the local launcher keeps its trainers' locks and logs."""
        return self.work_dir / "trainers"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from environment variables.

        Raises:
            BadSettings: with one line per variable that is missing or wrong.
        """
        values: dict[str, Any] = {}
        problems = []
        for field, variable in VARIABLES.items():
            raw = environ.get(variable)
            if raw is None or not raw.strip():
                continue
            if field in _JSON:
                try:
                    values[field] = json.loads(raw)
                except ValueError as error:
                    problems.append(f"{variable}: expected a JSON {_JSON[field]}, found {raw[:60]!r} ({error})")
            elif field == "audio_prefixes":
                values[field] = tuple(prefix.strip() for prefix in raw.split(",") if prefix.strip())
            else:
                values[field] = raw
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            problems.extend(_problem(item) for item in error.errors(include_url=False))
        if problems:
            raise BadSettings("settings are not complete:\n  " + "\n  ".join(problems))
        return settings

    def to_env(self) -> dict[str, str]:
        """Return the variables from which `from_env` makes these settings."""
        return {
            VARIABLES["bucket"]: self.bucket,
            VARIABLES["project"]: self.project,
            VARIABLES["audio_prefixes"]: ",".join(self.audio_prefixes),
            VARIABLES["policy"]: self.policy.model_dump_json(exclude_defaults=True),
            VARIABLES["launcher"]: self.launcher,
            VARIABLES["work_dir"]: str(self.work_dir),
            VARIABLES["count_interval_s"]: str(self.count_interval_s),
            VARIABLES["linger_s"]: str(self.linger_s),
            VARIABLES["trainer_image"]: self.trainer_image,
            VARIABLES["trainer_service_account"]: self.trainer_service_account,
            VARIABLES["trainer_network"]: self.trainer_network,
            VARIABLES["trainer_subnetwork"]: self.trainer_subnetwork,
            VARIABLES["trainer_machines"]: json.dumps([machine.model_dump() for machine in self.trainer_machines]),
            **({VARIABLES["otlp_endpoint"]: self.otlp_endpoint} if self.otlp_endpoint else {}),
            **({VARIABLES["traces_file"]: str(self.traces_file)} if self.traces_file is not None else {}),
        }


def _problem(item: Any) -> str:
    if not item["loc"]:  # of several variables together: the text names them
        return str(item["ctx"]["error"])
    field, *rest = item["loc"]
    where = ".".join([VARIABLES[str(field)], *map(str, rest)])
    if item["type"] == "missing":
        return f"{where}: not set"
    return f"{where}: {item['msg']}, found {str(item['input'])[:60]!r}"
