"""One frozen `Settings` per deployable, read from the environment once, all problems reported together."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from shared.audio_source import AudioSource
from shared.errors import InvalidMessage, RetuneError
from shared.frozen import Frozen
from shared.policy import Policy

VARIABLES = {
    "bucket": "RETUNE_BUCKET",
    "project": "GOOGLE_CLOUD_PROJECT",
    "audio_prefixes": "RETUNE_AUDIO_PREFIXES",
    "policy": "RETUNE_POLICY",
    "launcher": "RETUNE_LAUNCHER",
    "work_dir": "RETUNE_WORK_DIR",
    "count_interval_s": "RETUNE_COUNT_INTERVAL_S",
    "linger_s": "RETUNE_LINGER_S",
}


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


class Settings(Frozen):
    """What a deployable needs to know.

    Attributes:
        bucket: address of the object store, `gs://bucket` (or `file:///dir` in tests).
        project: Google Cloud project of the topics.
        audio_prefixes: an audio_uri must lie under one of these.
        policy: the operator's numbers.
        launcher: what starts the trainer.
        work_dir: where the local launcher keeps its processes' records and logs.
        count_interval_s: least time between two counts of the ledger by one collector instance.
        linger_s: how long a flush waits for company.
    """

    bucket: Annotated[str, Field(pattern=r"^(gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]|file:///.+)$")]
    project: Annotated[str, Field(min_length=1)]
    audio_prefixes: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_check_prefixes)]
    policy: Policy = Policy()
    launcher: Literal["local"] = "local"
    work_dir: Path = Path(".retune/work")
    count_interval_s: Annotated[float, Field(ge=0)] = 10.0
    linger_s: Annotated[float, Field(ge=0, le=5)] = 0.02

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
            if field == "policy":
                try:
                    values[field] = json.loads(raw)
                except ValueError as error:
                    problems.append(f"{variable}: expected a JSON object, found {raw[:60]!r} ({error})")
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
        }


def _problem(item: Any) -> str:
    field, *rest = item["loc"]
    where = ".".join([VARIABLES[str(field)], *map(str, rest)])
    if item["type"] == "missing":
        return f"{where}: not set"
    return f"{where}: {item['msg']}, found {str(item['input'])[:60]!r}"
