"""Traces and metrics, with the SDK's exporters in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tanstack_db import DbClient, Transaction, create_collection, live_query
from tanstack_realtime import (
    Channel,
    Preset,
    RealtimeClient,
    RealtimeCollection,
    create_realtime_client,
    realtime_collection_options,
)
from tanstack_realtime.opentelemetry import OpenTelemetryObserver
from tanstack_realtime.server import Permissions, Realtime, bearer_token
from tanstack_realtime.server.opentelemetry import OpenTelemetryServerObserver
from tanstack_realtime.testing import RealtimeSandbox


@dataclass(frozen=True)
class Note:
    id: str
    room: str


class Site:
    """Where one process's telemetry goes."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.traces.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}

    def metrics(self) -> Iterator[tuple[str, dict[str, Any], Any]]:
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        value = point.value if isinstance(point, NumberDataPoint) else point.count
                        yield metric.name, dict(point.attributes or {}), value


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def connect(sandbox: RealtimeSandbox, name: str, site: Site) -> RealtimeClient:
    observer = OpenTelemetryObserver(tracer_provider=site.traces, meter_provider=site.meters)
    return create_realtime_client(
        "http://memory",
        transport=sandbox.preset.transport(name),
        get_token=lambda: name,
        db=DbClient(on_error=sandbox.errors.append),
        observer=observer,
    )


async def test_a_trace_leads_from_the_mutation_to_the_other_screen() -> None:
    ann_site, bob_site, server_site = Site(), Site(), Site()
    rows: dict[str, Note] = {}
    broken = False

    async def read(room: str) -> list[Note]:
        return [row for row in rows.values() if row.room == room]

    async def add(transaction: Transaction[Note]) -> Note:
        if broken:
            raise OSError("database away")
        note = transaction.mutations[0].modified
        return rows.setdefault(note.id, note)

    def authorize(user_id: str, channel: Channel) -> Permissions:
        return Permissions(subscribe=channel.namespace == "notes", publish=channel.namespace == "notes")

    def serve(preset: Preset) -> Realtime:
        observer = OpenTelemetryServerObserver(tracer_provider=server_site.traces, meter_provider=server_site.meters)
        return Realtime(authorize=authorize, get_user=bearer_token, preset=preset, observer=observer)

    def notes(client: RealtimeClient) -> RealtimeCollection[Note, str, [str]]:
        options = realtime_collection_options(
            id="notes", schema=Note, get_key=lambda n: n.id, channel="notes", query_fn=read, on_insert=add
        )
        return client.collection(create_collection(options))

    async with (
        RealtimeSandbox(serve=serve) as sandbox,
        connect(sandbox, "ann", ann_site) as ann,
        connect(sandbox, "bob", bob_site) as bob,
    ):
        hers, his = notes(ann), notes(bob)
        screens = [
            live_query(lambda q: q.from_(hers).where(lambda n: n.room == "1"), client=ann.db),
            live_query(lambda q: q.from_(his).where(lambda n: n.room == "1"), client=bob.db),
        ]
        for screen in screens:
            await screen.preload()
        await sandbox.pass_time()
        await hers.insert(Note("n1", "1")).persisted()
        await sandbox.pass_time()
        assert [note.id for note in screens[1].get()] == ["n1"]
        made, applied = ann_site.spans["realtime.mutation"], bob_site.spans["realtime.apply"]
        sent, spread = ann_site.spans["realtime.publish"], server_site.spans["realtime.fan_out"]
        for child in (sent, spread, applied):
            assert child.parent is not None
            assert (child.parent.trace_id, child.parent.span_id) == ids(made)
        assert [span.kind for span in (sent, spread, applied)] == [
            SpanKind.PRODUCER,
            SpanKind.SERVER,
            SpanKind.CONSUMER,
        ]
        assert made.status.is_ok
        assert dict(applied.attributes or {})["messaging.destination.name"] == "notes:room=1"
        broken = True
        with pytest.raises(OSError, match="away"):
            await hers.insert(Note("n2", "1")).persisted()
        assert not ann_site.spans["realtime.mutation"].status.is_ok
        bob.subscribe(("secret", {}), lambda message: None)
        await sandbox.realtime.publish(("notes", {"room": "1"}), {"action": "insert", "traceparent": 7})
        await sandbox.pass_time()
        at_bob = list(bob_site.metrics())
        here = {"realtime.namespace": "notes"}
        assert ("realtime.client.applied", here, 1) in at_bob
        assert ("realtime.client.dropped", here, 1) in at_bob
        assert ("realtime.client.refetch.duration", here, 1) in at_bob
        assert ("realtime.client.denied", {"realtime.namespace": "secret", "error.type": "denied"}, 1) in at_bob
        at_ann = list(ann_site.metrics())
        assert ("realtime.client.publish.duration", here, 1) in at_ann
        at_server = list(server_site.metrics())
        assert ("realtime.server.published", here, 2) in at_server
        assert ("realtime.server.denied", {"error.type": "denied"}, 1) in at_server
        sandbox.errors.clear()
        for client in (ann, bob):
            await client.db.close()


def test_without_a_tracer_nothing_travels() -> None:
    observer = OpenTelemetryObserver()  # the global providers, which nobody has set
    assert observer.mutating("m1", "notes") is None
    observer.settled("m1", "notes", accepted=True)
    observer.published("a:x=1", {"traceparent": "broken"}, 0.1, None)
    observer.applied("a:x=1", None, "broken")
