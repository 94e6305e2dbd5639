"""Traces and metrics of a server by OpenTelemetry; see `tanstack_realtime.opentelemetry` for the trace of a mutation.

Needs the extra: ``pip install "tanstack-realtime[server,opentelemetry]"``.
"""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import SpanKind, TracerProvider, get_tracer

from tanstack_realtime._errors import RealtimeError
from tanstack_realtime._otel import namespace, parent_of_message
from tanstack_realtime._version import __version__

from ._preset import Publication, ServerObserver

__all__ = ["OpenTelemetryServerObserver"]

_SCOPE = "tanstack_realtime.server"


class OpenTelemetryServerObserver(ServerObserver):
    """Observes a server: ``Realtime(observer=OpenTelemetryServerObserver(), ...)``.

    Metrics: up-down counters ``realtime.server.connections`` and ``.channels``; counters ``realtime.server.published``,
    with ``realtime.namespace``, ``.dropped`` and ``.denied``, with ``error.type``.

    Args:
        tracer_provider: where spans go. Default: the global one.
        meter_provider: where metrics go. Default: the global one.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer = get_tracer(_SCOPE, __version__, tracer_provider)
        meter = get_meter(_SCOPE, __version__, meter_provider)
        self._connections = meter.create_up_down_counter("realtime.server.connections", unit="{connection}")
        self._channels = meter.create_up_down_counter("realtime.server.channels", unit="{channel}")
        self._published = meter.create_counter("realtime.server.published", unit="{message}")
        self._dropped = meter.create_counter("realtime.server.dropped", unit="{message}")
        self._denied = meter.create_counter("realtime.server.denied", unit="{refusal}")

    def connected(self, connection_id: str, user_id: str) -> None:
        self._connections.add(1)

    def disconnected(self, connection_id: str, user_id: str, code: int) -> None:
        self._connections.add(-1)

    def denied(self, user_id: str | None, channel: str | None, error: RealtimeError) -> None:
        self._denied.add(1, {"error.type": error.code})

    def published(self, publication: Publication) -> None:
        channel = publication.channel
        self._tracer.start_span(
            "realtime.fan_out",
            context=parent_of_message(publication.data),
            kind=SpanKind.SERVER,
            attributes={"messaging.destination.name": channel.raw},
        ).end()
        self._published.add(1, {"realtime.namespace": channel.namespace})

    def dropped(self, user_id: str, channel: str, count: int) -> None:
        self._dropped.add(count, {"realtime.namespace": namespace(channel)})

    def channel_opened(self, channel: str) -> None:
        self._channels.add(1)

    def channel_emptied(self, channel: str) -> None:
        self._channels.add(-1)
