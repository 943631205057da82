"""What Identity-Aware Proxy says of who somebody is: a signed assertion, checked with Google's public keys [io].

The plain headers `X-Goog-Authenticated-User-*` prove nothing and are never looked at.

Source: Google, "Securing your app with signed headers" (https://cloud.google.com/iap/docs/signed-headers-howto).
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from shared.clock import Clock
from shared.errors import Retryable, RetuneError
from shared.log import log

HEADER = "X-Goog-IAP-JWT-Assertion"
ISSUER = "https://cloud.google.com/iap"
KEYS_URL = "https://www.gstatic.com/iap/verify/public_key"
"""Key id -> public key as PEM."""
CLOCK_SKEW_S = 30
MOST_CHARS = 8192
KEEP_KEYS = timedelta(hours=1)
ASK_AGAIN = timedelta(seconds=20)
"""So long after they were last asked for, keys are not asked for again because of one that is unknown: nobody can make us ask each time."""
FETCH_S = 5.0

PublicKeys = Mapping[str, str]


class AssertionRefused(RetuneError):  # noqa: N818 - the taxonomy's names say the fact
    """An assertion is none of IAP's for this console, and the text says why."""


def key_id(assertion: str) -> str:
    """Return the name of the key that an assertion claims to be signed with.

    Raises:
        AssertionRefused: it is no assertion that ES256 signs.
    """
    from google.auth import jwt

    if not 0 < len(assertion) <= MOST_CHARS:
        raise AssertionRefused(f"expected an assertion of at most {MOST_CHARS} characters, found {len(assertion)}")
    try:
        header = jwt.decode_header(assertion)
    except (ValueError, RecursionError) as error:  # the library's own errors are ValueErrors
        raise AssertionRefused("expected three parts of Base64 with JSON in them, found other text") from error
    if header.get("alg") != "ES256" or not isinstance(header.get("kid"), str):
        raise AssertionRefused(f"expected the algorithm ES256 and a key, found {str(header.get('alg'))[:20]!r}")
    return str(header["kid"])


def verified_address(assertion: str, keys: PublicKeys, audience: str) -> str:
    """Return the e-mail address that an assertion proves.

    Args:
        assertion: the header's value.
        keys: IAP's public keys.
        audience: the service that it must be meant for.

    Raises:
        AssertionRefused: another key, issuer or audience, over or not begun, or without an address.
    """
    from google.auth import jwt

    if key_id(assertion) not in keys:
        raise AssertionRefused("expected a key of IAP, found another one")
    try:
        claims = jwt.decode(assertion, certs=dict(keys), audience=audience, clock_skew_in_seconds=CLOCK_SKEW_S)
    except (ValueError, TypeError) as error:
        raise AssertionRefused(f"expected an assertion of IAP for {audience}, found one that does not hold ({str(error)[:100]})") from error
    if claims.get("iss") != ISSUER:
        raise AssertionRefused(f"expected the issuer {ISSUER}, found another one")
    address = claims.get("email")
    if not isinstance(address, str) or "@" not in address or not address.isprintable():
        raise AssertionRefused("expected an e-mail address in the assertion, found none")
    return address


class KeyRing:
    """IAP's public keys, kept for an hour; safe across threads.

    Args:
        fetch: asks for them; raises Retryable where nobody answers.
        clock: tells how old they are.
    """

    def __init__(self, fetch: Callable[[], PublicKeys], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: PublicKeys = {}
        self._asked: datetime | None = None

    def keys_for(self, wanted: str) -> PublicKeys:
        """Return the keys, asked for anew where they are old or `wanted` is not among them.

        Raises:
            Retryable: nobody answers, and none are known.
        """
        with self._lock:
            age = self._clock.now() - self._asked if self._asked is not None else None
            if age is None or age >= KEEP_KEYS or (wanted not in self._keys and age >= ASK_AGAIN):
                self._ask()
            if not self._keys:
                raise Retryable("IAP's public keys: expected some, found none yet")
            return self._keys

    def _ask(self) -> None:
        self._asked = self._clock.now()
        try:
            self._keys = self._fetch()
        except Retryable as error:
            log(f"IAP's public keys are as they were: {error}", severity="WARNING")


def fetch_keys(url: str = KEYS_URL) -> PublicKeys:
    """Ask Google for IAP's public keys.

    Raises:
        Retryable: nobody answers, or with something else.
    """
    import requests

    try:
        answer = requests.get(url, timeout=FETCH_S)
        answer.raise_for_status()
        found = answer.json()
    except requests.RequestException as error:
        raise Retryable(f"{url}: expected IAP's public keys, found {type(error).__name__}") from error
    if not isinstance(found, dict) or not all(isinstance(part, str) for pair in found.items() for part in pair):
        raise Retryable(f"{url}: expected a table of public keys, found something else")
    return found
