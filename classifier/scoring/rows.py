"""The table of a job: its columns, a batch of answers as rows, and files of them in Parquet or CSV."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from classifier.card import Card
from classifier.engines import Answers
from classifier.errors import SightlineError
from classifier.scoring.decoding import Sight

Columns = dict[str, list[Any]]


class UnusableOutput(SightlineError):
    """The table cannot be written: its suffix is unknown, or it or its parts belong to another job."""

    status = 409
    code = "unusable-output"
    title = "The table cannot be written"


class Shown(NamedTuple):
    """What stands in every row: which version answered, and how it was run."""

    model: str
    version: int
    engine: str
    precision: str


def columns_of(card: Card, shown: Shown, sights: Sequence[Sight], answers: Answers | None) -> Columns:
    """Rows by column: of each image in order, or of its fault. `answers` are those of the images without one."""
    answered = iter([] if answers is None else _rows(answers))
    rows, scores = zip(*(next(answered) if sight.code is None else (None, None) for sight in sights), strict=True)
    tops = [None if row is None else max(range(len(row)), key=row.__getitem__) for row in rows]
    columns: Columns = {
        "path": [shown_name(sight.name) for sight in sights],
        "label": [None if top is None else card.labels[top] for top in tops],
        "probability": [None if row is None else max(row) for row in rows],
        "familiar": [card.is_familiar(score) for score in scores],
        "familiarity": list(scores),
    }
    for at, label in enumerate(card.labels):
        columns[f"probability_{label}"] = [None if row is None else row[at] for row in rows]
    columns |= {
        "width": [sight.width for sight in sights],
        "height": [sight.height for sight in sights],
        "error": [sight.code for sight in sights],
        "detail": [sight.detail for sight in sights],
    }
    return columns | {name: [value] * len(sights) for name, value in shown._asdict().items()}


def _rows(answers: Answers) -> Iterator[tuple[list[float], float | None]]:
    """The probabilities of each image, and its familiarity."""
    rows = answers.probabilities.tolist()
    scores = [None] * len(rows) if answers.familiarity is None else answers.familiarity.tolist()
    return zip(rows, scores, strict=True)


def shown_name(name: str) -> str:
    """A path as the table has it: what is not UTF-8 is escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def joined(several: Sequence[Answers]) -> Answers:
    """The answers of batches in a row as those of one."""
    scores = [answers.familiarity for answers in several if answers.familiarity is not None]
    probabilities = np.concatenate([answers.probabilities for answers in several])
    return Answers(probabilities, np.concatenate(scores) if scores else None)


class Format(Protocol):
    """A kind of file that holds rows."""

    def write(self, path: Path, columns: Columns) -> None:
        """Write a part and have it on the disk."""

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Write one file of all parts, with the memory of one of them."""


class Csv:
    """CSV with a head, in UTF-8. What is unknown is empty."""

    def write(self, path: Path, columns: Columns) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
            to_disk(file)

    def join(self, parts: Sequence[Path], path: Path) -> None:
        with path.open("wb") as whole:
            for number, part in enumerate(parts):
                with part.open("rb") as file:
                    if number:
                        file.readline()  # the head, of which no name has a line break
                    shutil.copyfileobj(file, whole)
            to_disk(whole)


class Parquet:
    """Parquet by pyarrow. Raises UnusableOutput where it is not installed."""

    def __init__(self) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as missing:
            raise UnusableOutput(
                'a .parquet table needs pyarrow: `pip install "sightline[parquet]"`, or name a .csv'
            ) from missing
        self._arrow = pyarrow
        self._parquet = pyarrow.parquet

    def write(self, path: Path, columns: Columns) -> None:
        types = {name: self._type(name) for name in columns}
        table = self._arrow.table(columns, schema=self._arrow.schema(types))
        with path.open("wb") as file:
            self._parquet.write_table(table, file)
            to_disk(file)

    def join(self, parts: Sequence[Path], path: Path) -> None:
        schema = self._parquet.read_schema(parts[0])
        with path.open("wb") as file:
            with self._parquet.ParquetWriter(file, schema) as writer:
                for part in parts:
                    writer.write_table(self._parquet.read_table(part))
            to_disk(file)

    def _type(self, name: str) -> Any:
        if name.startswith("probability") or name == "familiarity":
            return self._arrow.float32()
        if name in ("width", "height", "version"):
            return self._arrow.int32()
        return self._arrow.bool_() if name == "familiar" else self._arrow.string()


FORMATS: dict[str, Callable[[], Format]] = {".csv": Csv, ".parquet": Parquet}


def format_of(path: Path) -> Format:
    """The kind of table that a file's name asks for. Raises UnusableOutput."""
    if (kind := FORMATS.get(path.suffix.lower())) is None:
        raise UnusableOutput(f"expected a table called {' or '.join(FORMATS)}, got {path.name}")
    return kind()


def to_disk(file: Any) -> None:
    """Have all that was written to a file on the disk."""
    file.flush()
    os.fsync(file.fileno())
