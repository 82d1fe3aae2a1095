from __future__ import annotations

import pytest

from service.telemetry.ids import RequestIds, ids_of
from service.telemetry.traces import Trace

TRACE = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "01")


def test_a_request_without_ids_gets_an_id_and_no_trace() -> None:
    first, second = ids_of([(b"host", b"x")]), ids_of([])
    assert first.request_id != second.request_id
    assert (first.trace, second.trace) == (None, None)
    assert first.headers() == [(b"x-request-id", first.request_id.encode())]


def test_the_callers_ids_are_kept_and_given_back() -> None:
    ids = ids_of([(b"x-request-id", b"abc-1"), (b"traceparent", TRACE.header.encode())])
    assert ids == RequestIds("abc-1", TRACE)
    assert ids.headers() == [(b"x-request-id", b"abc-1"), (b"traceparent", TRACE.header.encode())]


@pytest.mark.parametrize("given", [[b"a b"], [b""], [b"x" * 129], [b"one", b"two"]])
def test_an_id_that_is_unfit_for_a_log_is_replaced(given: list[bytes]) -> None:
    ids = ids_of([(b"x-request-id", value) for value in given])
    assert len(ids.request_id) == 16


def test_a_log_line_names_the_trace_where_there_is_one() -> None:
    assert str(RequestIds("abc")) == "request abc"
    assert str(RequestIds("abc", TRACE)) == f"request abc, trace {TRACE.trace_id}"
    assert RequestIds("abc").as_extra() == {"about_request": {"request_id": "abc"}}
    expected = {"request_id": "abc", "trace_id": TRACE.trace_id, "span_id": TRACE.span_id}
    assert RequestIds("abc", TRACE).as_extra() == {"about_request": expected}
