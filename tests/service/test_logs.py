from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from service.logs import LOGGERS, JsonFormatter, write_json
from service.telemetry.ids import RequestIds
from service.telemetry.traces import CURRENT, Trace


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the logger `bentoml`, whose handlers ours share, writes."""
    log, out = logging.getLogger("bentoml"), io.StringIO()
    handler = logging.StreamHandler(out)
    others = [(other, other.formatter) for name in LOGGERS for other in logging.getLogger(name).handlers]
    log.addHandler(handler)
    yield out
    log.removeHandler(handler)
    for other, formatter in others:  # pytest's are among them
        other.setFormatter(formatter)


def test_a_line_is_an_object_with_time_level_logger_and_message(written: io.StringIO) -> None:
    write_json()
    logging.getLogger("bentoml").warning("rejected %d: %s", 429, 'a "name"\nof two lines')
    (line,) = written.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert said == {"level": "WARNING", "logger": "bentoml", "message": 'rejected 429: a "name"\nof two lines'}


def test_an_exception_has_its_traceback_in_the_same_line() -> None:
    try:
        raise ValueError("no such thing")
    except ValueError as error:
        record = logging.LogRecord("service", logging.ERROR, "", 0, "failed", (), (type(error), error, None))
    said = json.loads(JsonFormatter().format(record))
    assert said["exception"].splitlines()[-1] == "ValueError: no such thing"


def test_a_line_about_a_request_has_its_ids_and_any_line_of_a_request_its_trace(written: io.StringIO) -> None:
    write_json()
    log, trace = logging.getLogger("bentoml"), Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    log.warning("rejected", extra=RequestIds("abc", trace).as_extra())
    before = CURRENT.set(trace)
    log.warning("failed")
    CURRENT.reset(before)
    log.warning("idle")
    rejected, failed, idle = map(json.loads, written.getvalue().splitlines())
    assert (rejected["request_id"], rejected["trace_id"], rejected["span_id"]) == ("abc", trace.trace_id, trace.span_id)
    assert (failed["trace_id"], failed["span_id"]) == (trace.trace_id, trace.span_id)
    assert not {"request_id", "trace_id", "span_id"} & idle.keys()
