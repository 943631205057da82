"""The base of every stored document."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A frozen document; an unknown field is an error, since both sides are ours."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
