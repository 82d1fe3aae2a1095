"""Log lines as JSON objects, one a line, for whoever collects them by machine."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import orjson

from service.telemetry.ids import ABOUT_REQUEST
from service.telemetry.traces import CURRENT

LOGGERS = (
    "",
    "bentoml",
    "circus",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
)  # those that get handlers of their own


class JsonFormatter(logging.Formatter):
    """`time` (UTC, ISO 8601), `level`, `logger`, `message`; where there is one `exception` with the traceback.

    Lines about a request have its `request_id`; where it belongs to a trace, `trace_id` and `span_id`.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def write_json() -> None:
    """Have every handler that there is write JSON from now on. Again: the same."""
    for name in LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(JsonFormatter())


def _fields(record: logging.LogRecord) -> dict[str, str]:
    """What a line says of its request: by itself, or because it was written while one was answered."""
    trace = CURRENT.get()
    of_task = {"trace_id": trace.trace_id, "span_id": trace.span_id} if trace else {}
    said: dict[str, str] = vars(record).get(ABOUT_REQUEST, {})
    return of_task | said
