"""What a trainer's machine is told to do when it starts, as cloud-init reads it. Pure but for reading its own template."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from functions.launcher.trainers import TrainerRun
from shared.config import KEY_SECRET, Settings
from shared.errors import InvariantBroken
from shared.events import TRAINING_EVENTS
from shared.ids import derived_event_id
from shared.machine import Machine
from shared.trainer_machines import image_digest

_PLAIN = re.compile(r"^[A-Za-z0-9_.:/@-]*$")


def render_user_data(settings: Settings, run: TrainerRun, machine: Machine) -> str:
    """Return the text of the metadata `user-data`; the trainer is told of its machine, whose price the attempt costs.

    Raises:
        InvariantBroken: a value would mean something to a shell or to YAML; every setting is checked where it is read.
    """
    gold = settings.policy.gold
    values = {
        "name": run.name,
        "image": settings.trainer_image,
        "image_digest": image_digest(settings.trainer_image),
        "registry": settings.trainer_image.partition("/")[0],
        "spec_uri": run.spec_uri,
        "attempt": str(run.attempt),
        "cycle": str(run.cycle),
        "machine_type": machine.machine_type,
        "provisioning": machine.provisioning,
        "project": settings.project,
        "key_variable": gold.api_key_env if gold else "",
        "key_secret": KEY_SECRET,
        "otlp_endpoint": settings.otlp_endpoint,
        "topic": TRAINING_EVENTS,
        "event_id": derived_event_id("TrainingFailed", f"machine {run.name}", f"attempt-{run.attempt}"),
    }
    strange = {name: value for name, value in values.items() if not _PLAIN.match(value)}
    if strange:
        raise InvariantBroken(f"cloud-init of {run.name}: expected plain values, found {strange}")
    return _template().render(values)


@cache
def _template() -> Template:
    text = Path(__file__).with_name("cloud_init.yaml.j2").read_text(encoding="utf-8")
    return Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True).from_string(text)  # noqa: S701 - not HTML
