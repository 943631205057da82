"""What a check says: a fact, and what to do where it is a problem."""

from typing import Literal

from shared.documents import Frozen

Level = Literal["ok", "problem", "unknown"]


class Finding(Frozen):
    """One thing that was looked at.

    Attributes:
        subject: what was looked at.
        level: `unknown` = it could not be seen, so that it may be good or bad.
        found: in words.
        fix: what to do; empty where nothing is to be done.
    """

    subject: str
    level: Level
    found: str
    fix: str = ""


def good(subject: str, found: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(subject=subject, level="ok", found=found)


def bad(subject: str, found: str, fix: str) -> Finding:
    """Return a problem and its fix."""
    return Finding(subject=subject, level="problem", found=found, fix=fix)


def unseen(subject: str, found: str, fix: str) -> Finding:
    """Return that something could not be seen, and how it can be."""
    return Finding(subject=subject, level="unknown", found=found, fix=fix)
