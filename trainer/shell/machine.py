"""The machine that this trainer runs on, as whoever started it says."""

from collections.abc import Mapping

from pydantic import ValidationError

from shared.log import log
from shared.machine import PROVISIONING_VARIABLE, TYPE_VARIABLE, Machine


def find_machine(environ: Mapping[str, str]) -> Machine | None:
    """Return the machine that the environment tells of; None = nobody said, or in words that nobody knows, which is logged.

    Training goes on either way: the attempt then costs the price of what is not in the table.
    """
    kind, provisioning = environ.get(TYPE_VARIABLE, ""), environ.get(PROVISIONING_VARIABLE, "")
    if not kind and not provisioning:
        return None
    try:
        return Machine.model_validate({"machine_type": kind, "provisioning": provisioning})
    except ValidationError:
        expected = f"expected {TYPE_VARIABLE} as g2-standard-8 and {PROVISIONING_VARIABLE} as spot or standard"
        log(f"the machine is not known: {expected}, found {kind[:100]!r} and {provisioning[:100]!r}", severity="WARNING")
        return None
