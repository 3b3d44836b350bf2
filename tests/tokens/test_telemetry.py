"""Spans linked to those who waited, and metrics, as an OpenTelemetry backend gets them."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from telnyx_oauth.errors import TelnyxError
from telnyx_oauth.tokens.telemetry import TokenTelemetry


@pytest.fixture
def backend():
    class Backend:
        exporter = InMemorySpanExporter()
        reader = InMemoryMetricReader()
        tracers = TracerProvider(shutdown_on_exit=False)
        meters = MeterProvider([reader], shutdown_on_exit=False)

        def metric(self, name):
            data = self.reader.get_metrics_data()
            return [
                point
                for resource in data.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                if metric.name == name
                for point in metric.data.data_points
            ]

    made = Backend()
    made.tracers.add_span_processor(SimpleSpanProcessor(made.exporter))
    return made


def test_a_refresh_is_a_span_of_its_own_linked_to_those_who_waited(world, backend, secrets):
    async def main():
        hook = TokenTelemetry(backend.tracers, backend.meters)
        manager = world.manager(
            world.credentials(client_secret=secrets.client_secret), hooks=[hook, world.events.append]
        )
        world.server.extra = {"access_token": secrets.access_token}
        tracer = backend.tracers.get_tracer("test")

        async def ask(name):
            with tracer.start_as_current_span(name) as span:
                await manager.get()
                return span.get_span_context().span_id

        waiters = await asyncio.gather(*(ask(f"w{n}") for n in range(3)))
        refresh = next(span for span in backend.exporter.get_finished_spans() if span.name == "oauth.token.refresh")
        assert refresh.parent is None
        assert {link.context.span_id for link in refresh.links} == set(waiters)
        assert refresh.attributes["outcome"] == "refreshed"
        assert refresh.attributes["oauth.grant_type"] == "client_credentials"
        assert refresh.attributes["server.address"] == "auth.test"
        assert not secrets.found_in(refresh.to_json())
        assert hook._spans == hook._waiting == {}
        await manager.aclose()

    world.run(main())
    (point,) = backend.metric("telnyx_oauth.token.refresh.duration")
    assert point.sum == pytest.approx(0.05)
    assert [event.name for event in world.events] == ["requested", "refreshed"]


def test_a_failed_refresh_is_an_error_by_its_stable_name(world, backend):
    async def main():
        manager = world.manager(hooks=[TokenTelemetry(backend.tracers, backend.meters)])
        world.server.faults.append("invalid_scope")
        with pytest.raises(TelnyxError):
            await manager.get()
        (refresh,) = backend.exporter.get_finished_spans()
        assert not refresh.status.is_ok
        assert refresh.attributes["error.type"] == "invalid_scope"
        await manager.aclose()

    world.run(main())
    (point,) = backend.metric("telnyx_oauth.token.refreshes")
    assert (point.value, point.attributes["outcome"]) == (1, "failed")
    assert {point.attributes["event"] for point in backend.metric("telnyx_oauth.token.events")} == {
        "requested",
        "failed",
        "back-off",
    }


def test_those_who_wait_out_a_back_off_are_linked_too(world, backend):
    async def main():
        manager = world.manager(hooks=[TokenTelemetry(backend.tracers, backend.meters)])
        world.server.faults.append("429")
        with pytest.raises(TelnyxError):
            await manager.get()
        with backend.tracers.get_tracer("test").start_as_current_span("patient") as span:
            await manager.get()
            patient = span.get_span_context().span_id
        refresh = backend.exporter.get_finished_spans()[1]
        assert [link.context.span_id for link in refresh.links] == [patient]
        await manager.aclose()

    world.run(main())
