"""The machine that a trainer runs on, as its price is known by.

Whoever starts a trainer tells it by two variables; the trainer writes it beside its first move of the cycle's state.
"""

from typing import Annotated, Literal

from pydantic import Field

from shared.documents import Frozen

Provisioning = Literal["spot", "standard"]
TYPE_VARIABLE = "RETUNE_MACHINE_TYPE"
PROVISIONING_VARIABLE = "RETUNE_PROVISIONING"


class Machine(Frozen):
    """A kind of machine.

    Attributes:
        machine_type: as the provider calls it, `g2-standard-8`.
        provisioning: `spot` may be taken away at any time and costs less.
    """

    machine_type: Annotated[str, Field(min_length=1, max_length=100)]
    provisioning: Provisioning

    def to_env(self) -> dict[str, str]:
        """Return the variables by which a trainer is told of its machine."""
        return {TYPE_VARIABLE: self.machine_type, PROVISIONING_VARIABLE: self.provisioning}
