"""One JSON line per thing that happened, as Cloud Logging reads it; never audio, never a transcript [io]."""

import json
import sys
from contextvars import ContextVar
from typing import Any, Literal, TextIO

TRACE = "logging.googleapis.com/trace"
"""The field by which Cloud Logging ties a line to its trace, see `trace_name`."""

Severity = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

_context: ContextVar[dict[str, Any]] = ContextVar("log_context", default={})  # noqa: B039 - replaced whole, never mutated


def trace_name(project: str, trace_id: str) -> str:
    """Return what stands in the field `TRACE`. Source: Cloud Logging, LogEntry, `trace`: the resource name of a trace, not its bare id."""
    return f"projects/{project}/traces/{trace_id}"


def bind(**fields: Any) -> None:
    """Put fields (event_id, cycle, trace, ...) on every later line of this request."""
    _context.set({**_context.get(), **fields})


def fresh(**fields: Any) -> None:
    """Start a request with these fields alone."""
    _context.set(fields)


def log(message: str, *, severity: Severity = "INFO", stream: TextIO | None = None, **fields: Any) -> None:
    """Write one line; fields that are None are left out."""
    line = {"severity": severity, "message": message, **_context.get(), **fields}
    out = stream or sys.stdout
    out.write(json.dumps({key: value for key, value in line.items() if value is not None}, default=str) + "\n")
    out.flush()
