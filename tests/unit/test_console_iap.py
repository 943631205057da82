"""IAP's assertions: only one that Google signed for this console, now, says who somebody is."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.auth.crypt.es256 import ES256Signer
from werkzeug.datastructures import Headers

from functions.dashboard.iap import (
    ASK_AGAIN,
    HEADER,
    KEEP_KEYS,
    MOST_CHARS,
    AssertionRefused,
    KeyRing,
    PublicKeys,
    fetch_keys,
    key_id,
    verified_address,
)
from functions.dashboard.identity import IapUsers
from functions.dashboard.settings import ConsoleSettings
from shared.errors import Retryable
from shared.testing.clock import FakeClock

AUDIENCE = "/projects/123/locations/europe-west4/services/dashboard"
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
GOOD: dict[str, Any] = {"iss": "https://cloud.google.com/iap", "aud": AUDIENCE, "email": "Ana@example.org", "sub": "accounts.google.com:1"}


def public(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


KEYS = {"k1": public(KEY)}


def signed(  # made when tests are collected, perhaps long before they run
    key: ec.EllipticCurvePrivateKey = KEY, *, name: str | None = "k1", from_s: float = -10, to_s: float = 86_400, **claims: Any
) -> str:
    now = time.time()
    payload = {"iat": int(now + from_s), "exp": int(now + to_s), **GOOD, **claims}
    kept = {claim: value for claim, value in payload.items() if value is not None}
    return str(jwt.encode(ES256Signer(key), kept, key_id=name).decode())


def raw(header: Mapping[str, Any], payload: Mapping[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_an_assertion_of_iap_for_this_console_says_who_it_is() -> None:
    assert verified_address(signed(), KEYS, AUDIENCE) == "Ana@example.org"


def test_clocks_may_differ_by_half_a_minute() -> None:
    assert verified_address(signed(from_s=20), KEYS, AUDIENCE)
    assert verified_address(signed(from_s=-900, to_s=-20), KEYS, AUDIENCE)


@pytest.mark.parametrize(
    ("assertion", "told"),
    [
        (signed(from_s=-900, to_s=-60), "does not hold"),
        (signed(from_s=43_200), "does not hold"),
        (signed(exp=None), "does not hold"),
        (signed(exp="tomorrow"), "does not hold"),
        (signed(aud="/projects/123/locations/europe-west4/services/other"), "does not hold"),
        (signed(aud=None), "does not hold"),
        (signed(iss="https://accounts.google.com"), "issuer"),
        (signed(iss=None), "issuer"),
        (signed(email=None), "e-mail address"),
        (signed(email="ana"), "e-mail address"),
        (signed(email=["ana@example.org"]), "e-mail address"),
        (signed(email="ana@example.org\n"), "e-mail address"),
        (signed(OTHER), "does not hold"),
        (signed(OTHER, name="k2"), "found another one"),
        (signed(name=None), "a key"),
        ("", "expected an assertion of at most"),
        ("a" * (MOST_CHARS + 1), "expected an assertion of at most"),
        ("a.b", "three parts"),
        ("a.b.c", "three parts"),
        ("\u00e9.\u00e9.\u00e9", "three parts"),
    ],
)
def test_whatever_is_wrong_with_an_assertion_it_is_refused(assertion: str, told: str) -> None:
    with pytest.raises(AssertionRefused, match=told):
        verified_address(assertion, KEYS, AUDIENCE)


def test_an_assertion_without_a_signature_is_refused() -> None:
    now = int(time.time())
    payload = {"iat": now, "exp": now + 600, **GOOD}
    with pytest.raises(AssertionRefused, match="ES256"):
        verified_address(raw({"alg": "none", "kid": "k1"}, payload), KEYS, AUDIENCE)
    with pytest.raises(AssertionRefused, match="does not hold"):
        verified_address(raw({"alg": "ES256", "kid": "k1"}, payload), KEYS, AUDIENCE)
    with pytest.raises(AssertionRefused, match="does not hold"):
        verified_address(raw({"alg": "ES256", "kid": "k1"}, payload, bytes(64)), KEYS, AUDIENCE)


def test_an_assertion_that_was_changed_after_signing_is_refused() -> None:
    header, payload, signature = signed().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "email": "eve@example.org"}).encode()).rstrip(b"=").decode()
    with pytest.raises(AssertionRefused, match="does not hold"):
        verified_address(f"{header}.{forged}.{signature}", KEYS, AUDIENCE)


def test_another_algorithm_is_refused_whoever_signed() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    made = jwt.encode(RSASigner.from_string(pem.decode()), {"iat": 1, "exp": 2**40, **GOOD}, key_id="k1").decode()
    with pytest.raises(AssertionRefused, match="ES256"):
        key_id(made)


class Google:
    """Google's address of the keys, as often as it was asked."""

    def __init__(self) -> None:
        self.keys: dict[str, str] | None = dict(KEYS)
        self.asked = 0

    def __call__(self) -> PublicKeys:
        self.asked += 1
        if self.keys is None:
            raise Retryable("nobody answers")
        return dict(self.keys)


def test_keys_are_asked_for_once_an_hour_and_sooner_for_a_new_one() -> None:
    clock, google = FakeClock(), Google()
    ring = KeyRing(google, clock)
    assert ring.keys_for("k1") == ring.keys_for("k1") == KEYS
    assert google.asked == 1
    google.keys = {"k2": public(OTHER)}
    assert "k2" not in ring.keys_for("k2"), "asked a moment ago"
    clock.advance(ASK_AGAIN.total_seconds())
    assert "k2" in ring.keys_for("k2")
    assert google.asked == 2
    ring.keys_for("made up")
    assert google.asked == 2, "whoever makes key names up does not make us ask each time"
    clock.advance(KEEP_KEYS.total_seconds())
    ring.keys_for("k2")
    assert google.asked == 3


def test_known_keys_outlive_a_google_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    clock, google = FakeClock(), Google()
    ring = KeyRing(google, clock)
    ring.keys_for("k1")
    google.keys = None
    clock.advance(timedelta(days=1).total_seconds())
    assert ring.keys_for("k1") == KEYS
    assert "are as they were" in capsys.readouterr().out


def test_a_google_that_does_not_answer_is_not_asked_by_every_request(capsys: pytest.CaptureFixture[str]) -> None:
    clock, google = FakeClock(), Google()
    google.keys = None
    ring = KeyRing(google, clock)
    for _ in range(3):
        with pytest.raises(Retryable, match="found none yet"):
            ring.keys_for("k1")
    assert google.asked == 1
    google.keys = dict(KEYS)
    clock.advance(ASK_AGAIN.total_seconds())
    assert ring.keys_for("k1") == KEYS
    assert "nobody answers" in capsys.readouterr().out


class Page(BaseHTTPRequestHandler):
    """Answers with what the address says."""

    def do_GET(self) -> None:
        status, body = {"/keys": (200, json.dumps(KEYS)), "/list": (200, "[1]"), "/numbers": (200, '{"k1": 1}'), "/text": (200, "no")}.get(
            self.path, (503, "")
        )
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_are_a_table_of_names_and_texts(address: str) -> None:
    assert fetch_keys(f"{address}/keys") == KEYS


@pytest.mark.parametrize("path", ["/list", "/numbers", "/text", "/gone"])
def test_whatever_else_answers_in_googles_place_is_tried_again_later(address: str, path: str) -> None:
    with pytest.raises(Retryable, match=f"{path}: expected"):
        fetch_keys(f"{address}{path}")


def test_nobody_at_googles_address_is_tried_again_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Retryable, match="found ConnectionError"):
        fetch_keys(f"http://127.0.0.1:{port}/keys")


def users(google: Google, *operators: str) -> IapUsers:
    return IapUsers(ConsoleSettings(audience=AUDIENCE, operators=frozenset(operators)), KeyRing(google, FakeClock()))


def test_an_operator_is_known_by_the_assertion_and_by_nothing_else() -> None:
    people = users(Google(), "ana@example.org")
    assert people.viewer(Headers({HEADER: signed()})).acts
    assert people.viewer(Headers({HEADER.upper(): signed()})).acts
    plain = {"X-Goog-Authenticated-User-Email": "accounts.google.com:ana@example.org", "X-Goog-Authenticated-User-Id": "1"}
    assert (people.viewer(Headers(plain)).name, people.viewer(Headers(plain)).acts) == ("", False)
    assert "past IAP" in people.viewer(Headers(plain)).refusal
    mixed = people.viewer(Headers({**plain, HEADER: signed(email="bob@example.org")}))
    assert (mixed.name, mixed.acts) == ("bob@example.org", False)


def test_an_assertion_that_does_not_hold_leaves_nobody_known(capsys: pytest.CaptureFixture[str]) -> None:
    seen = users(Google(), "ana@example.org").viewer(Headers({HEADER: signed(OTHER)}))
    assert (seen.name, seen.acts) == ("", False)
    assert "does not hold" in seen.refusal
    assert "an assertion of IAP was refused" in capsys.readouterr().out


def test_without_keys_nobody_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    google = Google()
    google.keys = None
    seen = users(google, "ana@example.org").viewer(Headers({HEADER: signed()}))
    assert not seen.acts
    assert "cannot be had at the moment" in seen.refusal
    assert "was not checked" in capsys.readouterr().out


def test_without_operators_nobody_is_asked_for() -> None:
    google = Google()
    assert not users(google).viewer(Headers({HEADER: signed()})).acts
    assert google.asked == 0
