"""Spans of requests for OpenTelemetry, where the operator names a collector: OTEL_EXPORTER_OTLP_ENDPOINT.

A request has a span, and below it one for each stage: receive, decode, queue, infer. The stages are those of the
response's Server-Timing, so that both say the same. The library is imported only where spans are wanted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from service.errors import SettingsError
from service.telemetry.traces import Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OURS = "http/protobuf"


def check(environ: Mapping[str, str]) -> None:
    """Raise SettingsError where the environment asks for spans that cannot be had."""
    if (named := _endpoint(environ)) is None:
        return
    for name in _PROTOCOLS:
        if environ.get(name, _OURS) != _OURS:
            raise SettingsError(f"{name}={environ[name]} is not spoken here; expected {_OURS}, or unset it")
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:  # of a package around it
        found = None
    if found is None:
        raise SettingsError(
            f"{named} is set, but OpenTelemetry's exporter is not installed; pip install 'sightline[otel]', or unset it"
        )


def spans_of(environ: Mapping[str, str], version: str, unrecorded: frozenset[str]) -> Spans | None:
    """Spans for the collector that the environment names, as OpenTelemetry has it; None where it names none.

    `unrecorded` are paths whose requests get none. Raises SettingsError as `check` does.
    """
    if _endpoint(environ) is None:
        return None
    check(environ)
    return Spans(_provider(version), version, unrecorded)


def _endpoint(environ: Mapping[str, str]) -> str | None:
    """The variable that names the collector."""
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return None if is_off else next((name for name in _ENDPOINTS if environ.get(name)), None)


def _provider(version: str) -> TracerProvider:
    """What sends spans in a thread of its own; the environment says where and how many of them (OTEL_*)."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = Resource.create({"service.name": "sightline", "service.version": version})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Spans:
    """Begins the spans of requests."""

    def __init__(self, provider: TracerProvider, version: str, unrecorded: frozenset[str] = frozenset()) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("sightline", version)
        self._unrecorded = unrecorded

    def begin(self, scope: Mapping[str, Any], caller: Trace | None) -> RequestSpan | None:
        """The span of a request whose head has come, below its caller's where there is one; None for paths unrecorded.

        `scope` is ASGI's.
        """
        if scope["path"] in self._unrecorded:
            return None
        return RequestSpan(self._tracer, scope["method"], caller)

    def close(self, within_s: float = 2.0) -> None:
        """Send what is left. Blocks, so it belongs into a thread."""
        self._provider.force_flush(int(1000 * within_s))
        self._provider.shutdown()


class RequestSpan:
    """The span of one request, and those of its stages. `trace` is its place in the trace."""

    def __init__(self, tracer: Any, method: str, caller: Trace | None) -> None:
        from opentelemetry.trace import SpanKind

        self._tracer = tracer
        self._method = method
        self._began_ns = time.time_ns()
        self._received_ns = 0
        self._span: Span = tracer.start_span(
            method, context=_context(caller), kind=SpanKind.SERVER, start_time=self._began_ns
        )
        own = self._span.get_span_context()
        self.trace = Trace(f"{own.trace_id:032x}", f"{own.span_id:016x}", f"{own.trace_flags:02x}")

    def received(self) -> None:
        """The whole body has come."""
        self._received_ns = time.time_ns()

    def end(self, route: str, status: int, timing: str) -> None:
        """The response was sent. `timing` is its Server-Timing, "" where it has none."""
        from opentelemetry.trace import StatusCode, set_span_in_context

        ended_ns, inside = time.time_ns(), set_span_in_context(self._span)
        for name, began_ns, over_ns in self._stages(read_timing(timing), ended_ns):
            self._tracer.start_span(name, context=inside, start_time=began_ns).end(over_ns)
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes(
            {"http.request.method": self._method, "http.route": route, "http.response.status_code": status}
        )
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end(ended_ns)

    def _stages(self, took_ms: Mapping[str, float], ended_ns: int) -> list[tuple[str, int, int]]:
        """Name, begin and end of each stage: the body is received first, the others end with the response."""
        stages = [("receive", self._began_ns, self._received_ns)] if self._received_ns else []
        over_ns = ended_ns
        for name, milliseconds in reversed(list(took_ms.items())):
            began_ns = max(self._received_ns or self._began_ns, over_ns - round(1e6 * milliseconds))
            stages.append((name, began_ns, over_ns))
            over_ns = began_ns
        return stages


def read_timing(timing: str) -> dict[str, float]:
    """The milliseconds of each stage in a Server-Timing header of ours, in their order."""
    stages = [stage.strip().partition(";dur=") for stage in timing.split(",") if ";dur=" in stage]
    return {name: float(milliseconds) for name, _, milliseconds in stages}


def _context(caller: Trace | None) -> Any:
    """OpenTelemetry's context with the caller's span; an empty one without."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if caller is None:
        return Context()
    flags = TraceFlags(int(caller.flags, 16))
    parent = SpanContext(int(caller.trace_id, 16), int(caller.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(parent), Context())
