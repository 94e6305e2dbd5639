"""Traces and metrics of a client by OpenTelemetry.

One trace follows a mutation from the screen that made it to the screens that show it::

    realtime.mutation            the server function runs               this client
      realtime.publish           its message is handed to the server
      realtime.fan_out           the server delivers it                 `tanstack_realtime.server.opentelemetry`
      realtime.apply             it is applied                          every other client

The trace context travels in the message (W3C Trace Context). Needs the extra: ``pip install
"tanstack-realtime[opentelemetry]"``.
"""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer

from ._errors import RealtimeError
from ._observe import Observer
from ._otel import ago, namespace, parent, parent_of_message, set_outcome, traceparent
from ._transport import JSON
from ._version import __version__

__all__ = ["OpenTelemetryObserver"]

_SCOPE = "tanstack_realtime"


class OpenTelemetryObserver(Observer):
    """Observes a client: ``create_realtime_client(url, observer=OpenTelemetryObserver())``.

    Metrics, each with the attribute ``realtime.namespace`` where there is a channel: counters
    ``realtime.client.connects``, ``.disconnects``, ``.denied``, ``.dropped`` and ``.applied``; histograms in seconds
    ``realtime.client.publish.duration`` and ``.refetch.duration``, with ``error.type`` where it failed.

    Args:
        tracer_provider: where spans go. Default: the global one.
        meter_provider: where metrics go. Default: the global one.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer = get_tracer(_SCOPE, __version__, tracer_provider)
        meter = get_meter(_SCOPE, __version__, meter_provider)
        self._connects = meter.create_counter("realtime.client.connects", unit="{connection}")
        self._disconnects = meter.create_counter("realtime.client.disconnects", unit="{connection}")
        self._denied = meter.create_counter("realtime.client.denied", unit="{refusal}")
        self._dropped = meter.create_counter("realtime.client.dropped", unit="{message}")
        self._applied = meter.create_counter("realtime.client.applied", unit="{message}")
        self._publishes = meter.create_histogram("realtime.client.publish.duration", unit="s")
        self._refetches = meter.create_histogram("realtime.client.refetch.duration", unit="s")
        self._open: dict[tuple[str, str], Span] = {}

    def connected(self, connection_id: str, user_id: str | None) -> None:
        self._connects.add(1)

    def disconnected(self, reason: str | None) -> None:
        self._disconnects.add(1)

    def denied(self, channel: str, error: RealtimeError) -> None:
        self._denied.add(1, {"realtime.namespace": namespace(channel), "error.type": error.code})

    def mutating(self, mutation_id: str, collection: str) -> str | None:
        span = self._tracer.start_span(
            "realtime.mutation", attributes={"realtime.collection": collection, "realtime.mutation.id": mutation_id}
        )
        self._open[mutation_id, collection] = span
        return traceparent(span)

    def settled(self, mutation_id: str, collection: str, *, accepted: bool) -> None:
        span = self._open.pop((mutation_id, collection), None)
        if span is not None:
            if not accepted:
                span.set_status(Status(StatusCode.ERROR, "the server did not take it"))
            span.end()

    def published(self, channel: str, message: JSON, seconds: float, error: Exception | None) -> None:
        span = self._tracer.start_span(
            "realtime.publish",
            context=parent_of_message(message),
            kind=SpanKind.PRODUCER,
            attributes={"messaging.destination.name": channel},
            start_time=ago(seconds),
        )
        set_outcome(span, error)
        span.end()
        self._publishes.record(seconds, _attributes(channel, error))

    def applied(self, channel: str, mutation_id: str | None, traceparent: str | None) -> None:
        self._applied.add(1, {"realtime.namespace": namespace(channel)})
        context = parent(traceparent)
        if context is not None:
            self._tracer.start_span(
                "realtime.apply",
                context=context,
                kind=SpanKind.CONSUMER,
                attributes={"messaging.destination.name": channel, "realtime.mutation.id": mutation_id or ""},
            ).end()

    def refetched(self, channel: str, seconds: float, error: Exception | None) -> None:
        span = self._tracer.start_span(
            "realtime.refetch", attributes={"messaging.destination.name": channel}, start_time=ago(seconds)
        )
        set_outcome(span, error)
        span.end()
        self._refetches.record(seconds, _attributes(channel, error))

    def dropped(self, channel: str, reason: str) -> None:
        self._dropped.add(1, {"realtime.namespace": namespace(channel)})


def _attributes(channel: str, error: Exception | None) -> dict[str, str]:
    kind = {} if error is None else {"error.type": getattr(error, "code", type(error).__name__)}
    return {"realtime.namespace": namespace(channel), **kind}
