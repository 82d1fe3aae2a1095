"""What was measured, kept as a JSON file: `folds.json`, `pipeline.json` and `serving-speed.json` are of this kind."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from training.recipes.recipe import RecipeError


class Part(BaseModel):
    """A record, or a part of one: nothing unknown, nothing changed later, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Record = TypeVar("Record", bound=Part)


def read_record(kind: type[Record], path: Path, command: str) -> Record | None:
    """Read what `python -m training COMMAND` wrote; None where there is no such file. Raises RecipeError."""
    if not path.is_file():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RecipeError(f"{path}: not what `{command}` writes: {error}") from error


def write_record(record: Part, path: Path) -> None:
    """Write a record as indented JSON with a final newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
