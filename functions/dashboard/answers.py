"""Answers of HTTP: pages and what they ask for, with headers that let nothing else in."""

from http import HTTPStatus

from flask import Response

from functions.dashboard import pages
from functions.dashboard.visit import Visit

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers would not say which page sent a form
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTML = "text/html; charset=utf-8"
ASSETS = {"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}


def html(text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a page as an answer."""
    return Response(text, status=status, content_type=HTML)


def asset(name: str) -> Response:
    """Return what pages ask for beside themselves."""
    return Response(pages.asset(name), content_type=ASSETS[name], headers={"Cache-Control": "no-cache"})


def problem(visit: Visit, status: HTTPStatus, title: str, text: str) -> Response:
    """Return a page that says what is wrong."""
    return html(pages.problem_page(title, text, visit), status)


def see_other(address: str) -> Response:
    """Send the browser to look at what came of a form, so that loading that page again sends no form again."""
    return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": address}, content_type=HTML)
