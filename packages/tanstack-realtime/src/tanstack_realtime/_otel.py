"""What both OpenTelemetry observers need: the parent of a span from a message, and a channel's namespace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from ._keys import parse_channel

try:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError('this needs the extra: pip install "tanstack-realtime[opentelemetry]"') from error

__all__ = ["ago", "namespace", "parent", "parent_of_message", "set_outcome", "traceparent"]

_PROPAGATOR = TraceContextTextMapPropagator()


def namespace(channel: str) -> str:
    """Return what metrics are told apart by; whole channels would be too many."""
    return parse_channel(channel).namespace


def traceparent(span: Span) -> str | None:
    """Return the W3C ``traceparent`` of a span, None for one that is not recorded anywhere."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=set_span_in_context(span))
    return carrier.get("traceparent")


def parent(value: str | None) -> Context | None:
    """Return the context of a ``traceparent``, None without one."""
    return None if value is None else _PROPAGATOR.extract({"traceparent": value})


def parent_of_message(message: object) -> Context | None:
    """Return the context that a message carries, or None. It comes from outside and is not trusted to be anything."""
    value: object = cast("Mapping[str, Any]", message).get("traceparent") if isinstance(message, Mapping) else None
    return parent(value) if isinstance(value, str) else None


def ago(seconds: float) -> int:
    """Return when something began that took so long, in nanoseconds since the epoch."""
    return time.time_ns() - int(seconds * 1e9)


def set_outcome(span: Span, error: BaseException | None) -> None:
    """Say in a span whether it failed."""
    if error is not None:
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, str(error)))
