"""What the console is told about people: who may act in it, and how it knows who somebody is."""

import os
from collections.abc import Mapping

from functions.dashboard.viewer import MOST_NAME
from shared.config import BadSettings
from shared.documents import Frozen

AUDIENCE, OPERATORS, LOCAL_USER = "RETUNE_CONSOLE_AUDIENCE", "RETUNE_CONSOLE_OPERATORS", "RETUNE_CONSOLE_LOCAL_USER"
_ON_CLOUD_RUN = "K_SERVICE"


class ConsoleSettings(Frozen):
    """Who may act.

    Attributes:
        audience: of IAP's assertions, `/projects/NUMBER/locations/REGION/services/NAME`; empty = IAP does not stand before the console.
        operators: e-mail addresses, in small letters.
        local_user: who sits at the machine whose loopback interface alone the console listens on; empty = it is no local one.
    """

    audience: str = ""
    operators: frozenset[str] = frozenset()
    local_user: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "ConsoleSettings":
        """Read them; nothing set = nobody may act.

        Raises:
            BadSettings: they do not fit together; the text lists every problem.
        """
        audience, named, local_user = (environ.get(name, "").strip() for name in (AUDIENCE, OPERATORS, LOCAL_USER))
        operators = frozenset(address.strip().lower() for address in named.split(",") if address.strip())
        problems = [
            f"{OPERATORS}: expected addresses such as ana@example.org with commas between, found {address!r}"
            for address in sorted(operators)
            if address.count("@") != 1 or " " in address or len(address) > MOST_NAME
        ]
        if operators and not audience:
            problems.append(f"{OPERATORS}: expected {AUDIENCE} beside it, or nobody could tell who is an operator; found none")
        if local_user and audience:
            problems.append(f"{LOCAL_USER}: expected none beside {AUDIENCE}, found both")
        if local_user and environ.get(_ON_CLOUD_RUN):
            problems.append(f"{LOCAL_USER}: expected none on Google Cloud, where everybody would be that user")
        if problems:
            raise BadSettings("; ".join(problems))
        return cls(audience=audience, operators=operators, local_user=local_user[:MOST_NAME])
