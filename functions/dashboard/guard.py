"""That a form which comes back is one that this console showed to this person, in this browser, a short while ago. Pure.

A random key lies in a cookie that neither scripts nor other sites get at (HttpOnly, SameSite=Strict; `__Host-` where there is https, so
that no other host can set it). What a form carries is signed with it and names the person, the page and the one act that the form is good
for. No instance keeps anything, and no secret has to be brought to all of them. Beside it the browser itself says where a form comes from.

Source: OWASP, "Cross-Site Request Forgery Prevention": signed double-submit cookie; W3C, "Fetch Metadata Request Headers".
"""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer
from pydantic import AwareDatetime
from werkzeug.datastructures import Headers

from shared.documents import Frozen
from shared.errors import RetuneError

GOOD_FOR = timedelta(hours=1)
SKEW = timedelta(minutes=1)
"""Instances' clocks differ by less."""
_SALT = "retune console: a form"
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")


class FormRefused(RetuneError):  # noqa: N818 - the taxonomy's names say the fact
    """What a form carries is not what was given to it; the text says what to do."""


class Ticket(Frozen):
    """What a form is good for.

    Attributes:
        who: to whom it was shown.
        where: the page, with what it is about.
        act: id of the one act: pressed twice it is the same act.
        at: when it was shown.
    """

    who: str
    where: str
    act: str
    at: AwareDatetime


def cookie_name(*, secure: bool) -> str:
    """Return the name of the cookie; browsers take the prefix from https alone, for this very host and no other."""
    return "__Host-retune-form" if secure else "retune-form"


def new_key() -> str:
    """Return a key of 256 random bits for a browser."""
    return secrets.token_urlsafe(32)


def is_key(text: str) -> bool:
    """Tell whether a cookie can hold a key of ours."""
    return _KEY.fullmatch(text) is not None


def seal(ticket: Ticket, key: str) -> str:
    """Return what a form carries."""
    return str(_serializer(key).dumps(ticket.model_dump(mode="json")))


def open_ticket(text: str, key: str, *, who: str, where: str, now: datetime) -> Ticket:
    """Return what a form is good for.

    Args:
        text: what it carried.
        key: of the browser's cookie; whatever else stands there is no key.
        who: the person who sent it.
        where: the page that it came to.
        now: the present time.

    Raises:
        FormRefused: it was not given to this person and page by this browser's key, or too long ago.
    """
    if not is_key(key):
        raise FormRefused("Your browser did not send the cookie that came with the form. Allow cookies of this page, and press again.")
    try:
        ticket = Ticket.model_validate(_serializer(key).loads(text))
    except (BadData, ValueError) as error:
        raise FormRefused("This form was not shown in this browser, or was changed since. Look at it again, and press again.") from error
    if (ticket.who, ticket.where) != (who, where):
        raise FormRefused("The form was shown to somebody else, or for something else. Look at it again, and press again.")
    if not -SKEW <= now - ticket.at <= GOOD_FOR:
        raise FormRefused("The form is older than an hour: things may have moved on. Look at it again, and press again.")
    return ticket


def foreign(headers: Headers, host: str, *, secure: bool) -> str:
    """Return why a form comes from elsewhere; empty = it comes from the console's own page."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None and site != "same-origin":
        return "Your browser says that another site sent this form. Nothing was done."
    if origin is None:
        return "Your browser does not say which page sent this form. Nothing was done."
    try:
        parts = urlsplit(origin)
    except ValueError:
        return "Your browser says that no page can have sent this form. Nothing was done."
    if parts.netloc.lower() != host.lower() or parts.scheme != ("https" if secure else "http"):
        return "Your browser says that a page of another address sent this form. Nothing was done."
    return ""


def _serializer(key: str) -> URLSafeSerializer:
    return URLSafeSerializer(key, salt=_SALT, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"})
