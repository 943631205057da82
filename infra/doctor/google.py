"""One question to one of Google's APIs, one answer: an error is an answer too [io]."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import requests
from google.auth.exceptions import GoogleAuthError

from infra.errors import Unreachable

if TYPE_CHECKING:
    from google.auth.transport.requests import AuthorizedSession

TIMEOUT_S = 20.0
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def google_address(api: str) -> str:
    """Return where one of Google's APIs is."""
    return f"https://{api}.googleapis.com"


@dataclass(frozen=True)
class Answer:
    """What an API said.

    Attributes:
        status: of HTTP; 0 = nobody answered.
        document: the JSON object; of an error too.
        server_time: as the server's clock says; None = it did not say.
    """

    status: int
    document: Mapping[str, Any] = field(default_factory=dict)
    server_time: datetime | None = None

    @property
    def ok(self) -> bool:
        """The answer is what was asked for."""
        return self.status == 200

    @property
    def absent(self) -> bool:
        """There is no such thing."""
        return self.status == 404

    @property
    def message(self) -> str:
        """Why it is not what was asked for."""
        error = self.document.get("error", {})
        text = error.get("message", "") if isinstance(error, Mapping) else str(error)
        return f"{self.status} {text}".strip() if self.status else text or "nobody answered"


class Google:
    """Asks with the credentials of whoever runs the command; changes nothing."""

    def __init__(self, session: "AuthorizedSession", address: Callable[[str], str] = google_address) -> None:
        """Set up; nothing is contacted.

        Args:
            session: of google-auth.
            address: from the name of an API to its base URL.
        """
        self._session = session
        self._address = address

    def ask(self, api: str, path: str, *, body: Mapping[str, Any] | None = None) -> Answer:
        """Ask one thing: GET, or POST where there is a body.

        Raises:
            Unreachable: the credentials are not good.
        """
        url = f"{self._address(api)}{path}"
        try:
            reply = self._session.request("GET" if body is None else "POST", url, json=body, timeout=TIMEOUT_S)
        except GoogleAuthError as error:
            raise Unreachable(f"credentials: {error}\nrun `gcloud auth application-default login`") from error
        except requests.RequestException as error:
            return Answer(0, {"error": {"message": str(error)}})
        return Answer(reply.status_code, _document(reply), _time(reply.headers.get("Date")))


def open_google(project: str) -> Google:
    """Return the real APIs, with the credentials of this machine.

    Raises:
        Unreachable: there are none.
    """
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(scopes=[SCOPE], quota_project_id=project)
    except GoogleAuthError as error:
        raise Unreachable(f"credentials: expected some, found none ({error})\nrun `gcloud auth application-default login`") from error
    return Google(AuthorizedSession(credentials))


def _document(reply: requests.Response) -> Mapping[str, Any]:
    try:
        document = reply.json()
    except requests.JSONDecodeError:
        return {"error": {"message": reply.text[:200]}}
    return document if isinstance(document, dict) else {"items": document}


def _time(header: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(header).astimezone(UTC) if header else None
    except ValueError:
        return None
