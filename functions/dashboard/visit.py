"""A request to the console, with who sent it, and the way from its page to the others."""

from dataclasses import dataclass

from flask import Request

from functions.dashboard.viewer import Viewer


@dataclass(frozen=True)
class Visit:
    """A request, and who sent it."""

    request: Request
    viewer: Viewer

    @property
    def path(self) -> str:
        """Of the page, without slashes around it."""
        return self.request.path.strip("/")

    @property
    def root(self) -> str:
        """The way from the page to the console's first page: empty or `../` some times, so that the console may lie anywhere."""
        return "../" * self.path.count("/")
