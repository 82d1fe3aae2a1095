"""Log lines as JSON objects, one a line, for whoever collects them by machine."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import orjson

LOGGERS = (
    "",
    "bentoml",
    "circus",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
)  # those that get handlers of their own


class JsonFormatter(logging.Formatter):
    """`time` (UTC, ISO 8601), `level`, `logger`, `message`, and `exception` with the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def write_json() -> None:
    """Have every handler that there is write JSON from now on. Again: the same."""
    for name in LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(JsonFormatter())
