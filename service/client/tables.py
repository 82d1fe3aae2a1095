"""The answers of a stream as a table in a file: CSV, or Parquet where pyarrow is (`sightline-client[parquet]`)."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from .errors import ClientError
from .results import Answered


class Row(NamedTuple):
    """One image: its most probable label, or the code of its error."""

    image: str
    model: str
    version: int | None = None
    label: str | None = None
    probability: float | None = None
    familiar: bool | None = None
    familiarity: float | None = None
    error: str | None = None


def row_of(model: str, answered: Answered) -> Row:
    """What a table says of an image. One that came as bytes has no name."""
    image = "" if isinstance(answered.image, bytes | bytearray | memoryview) else str(answered.image)
    result = answered.result
    if isinstance(result, ClientError):
        return Row(image, model, error=result.code)
    known = (result.familiar, result.familiarity)
    return Row(image, result.model, result.version, *result.top, *known)


class Table:
    """A file of rows, by its suffix `.csv` or `.parquet`. CSV is written as the rows come, Parquet at the end.

    Raises ValueError for another suffix or where pyarrow is missing, and OSError where nothing can be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Row] = []
        self._parquet: Any = _pyarrow() if path.suffix.lower() == ".parquet" else None
        if self._parquet is None and path.suffix.lower() != ".csv":
            raise ValueError(f"expected a table called .csv or .parquet, got {path}")
        self._file = path.open("w" if self._parquet is None else "wb", **_as_text(self._parquet is None))
        self._writer = csv.writer(self._file) if self._parquet is None else None
        if self._writer is not None:
            self._writer.writerow(Row._fields)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._file:
            if self._parquet is not None:
                self._write_parquet()

    def add(self, row: Row) -> None:
        if self._writer is None:
            self._rows.append(row)
        else:
            self._writer.writerow(row)

    def _write_parquet(self) -> None:
        import pyarrow

        text, number = pyarrow.string(), pyarrow.float64()
        types = (text, text, pyarrow.int64(), text, number, pyarrow.bool_(), number, text)
        columns = [[row[column] for row in self._rows] for column in range(len(types))]
        arrays = [pyarrow.array(column, type_) for column, type_ in zip(columns, types, strict=True)]
        self._parquet.write_table(pyarrow.table(dict(zip(Row._fields, arrays, strict=True))), self._file)


def _as_text(is_text: bool) -> dict[str, Any]:
    return {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""} if is_text else {}


def _pyarrow() -> Any:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ValueError("Parquet needs pyarrow: pip install 'sightline-client[parquet]'; .csv needs nothing") from None
    return parquet
