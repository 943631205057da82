"""The service's own trace: which span an event was reported in. OpenTelemetry is used where the service uses it, and needed nowhere."""

import sys


def current_traceparent() -> str | None:
    """Return the W3C `traceparent` of the current span; None = the service has not loaded OpenTelemetry, or no span is current."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
