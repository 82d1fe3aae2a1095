from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from service.errors import SettingsError
from service.telemetry import spans as spans_module
from service.telemetry.spans import Spans, check, read_timing, spans_of
from service.telemetry.traces import Trace

CALLER = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "01")
TIMING = "decode;dur=1.500, queue;dur=0.250, infer;dur=3.000"
ROUTE = "/v1/models/{model}/predict"


@pytest.fixture
def recorded() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(recorded: InMemorySpanExporter) -> Spans:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(recorded))
    return Spans(provider, "1.2.3", frozenset({"/livez"}))


def scope(path: str = "/v1/models/cat/predict") -> dict[str, Any]:
    return {"method": "POST", "path": path}


def by_name(recorded: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in recorded.get_finished_spans()}


def ids_of(span: ReadableSpan) -> tuple[str, str]:
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def test_a_request_has_a_span_below_its_callers_and_one_below_it_for_each_stage(
    spans: Spans, recorded: InMemorySpanExporter
) -> None:
    span = spans.begin(scope(), CALLER)
    assert span is not None
    span.received()
    time.sleep(0.01)
    span.end(ROUTE, 200, TIMING)
    found = by_name(recorded)
    whole = found.pop(f"POST {ROUTE}")
    assert set(found) == {"receive", "decode", "queue", "infer"}
    assert ids_of(whole) == (span.trace.trace_id, span.trace.span_id)
    assert span.trace.trace_id == CALLER.trace_id
    assert span.trace.flags == "01"
    assert whole.parent is not None
    assert f"{whole.parent.span_id:016x}" == CALLER.span_id
    assert whole.kind is SpanKind.SERVER
    assert {one.parent.span_id for one in found.values() if one.parent} == {whole.context.span_id}
    assert dict(whole.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": ROUTE,
        "http.response.status_code": 200,
    }


def test_stages_follow_each_other_and_lie_within_the_request(spans: Spans, recorded: InMemorySpanExporter) -> None:
    span = spans.begin(scope(), None)
    assert span is not None
    span.received()
    time.sleep(0.01)
    span.end(ROUTE, 200, TIMING)
    found = by_name(recorded)
    whole = found[f"POST {ROUTE}"]
    moments = [
        (found[name].start_time or 0, found[name].end_time or 0) for name in ("receive", "decode", "queue", "infer")
    ]
    assert moments[0][0] == whole.start_time
    assert moments[-1][1] == whole.end_time
    assert [end - begin for begin, end in moments[1:]] == [1_500_000, 250_000, 3_000_000]
    assert [begin for begin, _ in moments[2:]] == [end for _, end in moments[1:-1]]
    assert moments[0][1] <= moments[1][0]


def test_a_request_that_is_refused_has_no_stages_and_a_failed_one_says_so(
    spans: Spans, recorded: InMemorySpanExporter
) -> None:
    for status in (401, 503):
        span = spans.begin(scope(), None)
        assert span is not None
        span.end("/v1/models", status, "")
    refused, failed = recorded.get_finished_spans()
    assert (refused.status.is_ok, failed.status.is_ok) == (True, False)


def test_a_request_without_a_caller_begins_a_trace(spans: Spans) -> None:
    first, second = (spans.begin(scope(), None) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.trace.trace_id != second.trace.trace_id
    assert len(first.trace.header) == 55


def test_what_a_caller_does_not_record_is_not_recorded_here(spans: Spans, recorded: InMemorySpanExporter) -> None:
    span = spans.begin(scope(), CALLER._replace(flags="00"))
    assert span is not None
    assert span.trace.trace_id == CALLER.trace_id
    span.received()
    span.end(ROUTE, 200, TIMING)
    assert recorded.get_finished_spans() == ()


def test_probes_are_not_recorded(spans: Spans) -> None:
    assert spans.begin(scope("/livez"), CALLER) is None


@pytest.mark.parametrize("timing", ["", "total", "db;desc=x"])
def test_a_timing_of_others_has_no_stages_of_ours(timing: str) -> None:
    assert read_timing(timing) == {}


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize("environ", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ENDPOINT | {"OTEL_SDK_DISABLED": "true"}])
def test_where_no_collector_is_named_nothing_is_recorded(environ: dict[str, str]) -> None:
    check(environ)
    assert spans_of(environ, "1.2.3", frozenset()) is None


def test_another_protocol_stops_the_start() -> None:
    with pytest.raises(
        SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not spoken here; expected http/protobuf"
    ):
        check(ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_a_library_that_is_missing_stops_the_start_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT is set, .* pip install 'sightline\[otel\]'"):
        check(ENDPOINT)


def test_spans_go_to_the_collector_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "cats")
    for name, value in ENDPOINT.items():
        monkeypatch.setenv(name, value)
    made = spans_of(ENDPOINT, "1.2.3", frozenset())
    assert made is not None
    made.close(within_s=0.1)
