"""The base of every stored document."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A frozen document; an unknown field is an error, so that an older release refuses what it would lose by writing it back.

    A new field has a default and is left out of what is stored while it has that value: the release before then reads the document until
    somebody uses what is new. What cannot be so raises `v`, which the release before refuses. `tests/property/test_two_releases.py` holds
    it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
