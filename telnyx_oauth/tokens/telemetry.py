"""OpenTelemetry for the token manager: a span per refresh, linked to the callers that waited for it, and metrics."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
except ImportError:
    raise ImportError(
        "TokenTelemetry needs the package opentelemetry-api: pip install 'telnyx-oauth[otel]'", name="opentelemetry"
    ) from None

from .events import TokenAdopted, TokenEvent, TokenRefreshed, TokenRefreshFailed, TokenRequested

_MOST_LINKS: Final = 64
_MOST_WAITING: Final = 1024
_SCOPE: Final = "telnyx_oauth"


class TokenTelemetry:
    """A hook: `TokenManager(source, hooks=[TokenTelemetry()])`. Needs the extra `otel`.

    Spans `oauth.token.refresh` have no parent, since a refresh serves many callers; they are linked to the current span of
    each caller that waited (64 at most). Counters `telnyx_oauth.token.events` and `telnyx_oauth.token.refreshes` and the
    histogram `telnyx_oauth.token.refresh.duration` (seconds) carry only the grant type and stable names.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._events = meter.create_counter("telnyx_oauth.token.events", description="Events of the token manager")
        self._refreshes = meter.create_counter("telnyx_oauth.token.refreshes", description="Refreshes, by outcome")
        self._duration = meter.create_histogram("telnyx_oauth.token.refresh.duration", "s", "Duration of refreshes")
        self._spans: dict[int, Span] = {}
        self._waiting: dict[int, list[SpanContext]] = {}

    def joined(self, flight: int) -> None:
        """Note that a caller begins to wait for this refresh. Called in the caller's context."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return
        span = self._spans.get(flight)
        waiting = self._waiting.setdefault(flight, [])
        if len(waiting) >= _MOST_LINKS:
            return
        waiting.append(context)
        if span is not None:
            span.add_link(context)
        elif len(self._waiting) > _MOST_WAITING:  # refreshes that were given up before they began
            del self._waiting[next(iter(self._waiting))]

    def __call__(self, event: TokenEvent) -> None:
        """Record an event."""
        kind = {"oauth.grant_type": event.key.grant or "custom"}
        self._events.add(1, {**kind, "event": event.name})
        if isinstance(event, TokenRequested):
            links = [Link(context) for context in self._waiting.setdefault(event.flight, [])]
            self._spans[event.flight] = self._tracer.start_span(
                "oauth.token.refresh",
                Context(),
                SpanKind.CLIENT,
                {
                    **kind,
                    "oauth.client_id": event.key.client_id,
                    "server.address": urlsplit(event.key.token_endpoint).hostname or "",
                },
                links,
            )
        elif isinstance(event, (TokenRefreshed, TokenAdopted, TokenRefreshFailed)):
            self._end(event, kind)

    def _end(self, event: TokenRefreshed | TokenAdopted | TokenRefreshFailed, kind: dict[str, str]) -> None:
        outcome = {**kind, "outcome": event.name}
        if isinstance(event, TokenRefreshFailed):
            outcome["error.type"] = event.error
        self._refreshes.add(1, outcome)
        if not isinstance(event, TokenAdopted):
            self._duration.record(event.seconds, outcome)
        self._waiting.pop(event.flight, None)
        span = self._spans.pop(event.flight, None)
        if span is None:
            return
        span.set_attributes(outcome)
        if isinstance(event, TokenRefreshFailed):
            span.set_status(Status(StatusCode.ERROR, event.error))
        span.end()
