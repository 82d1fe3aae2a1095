"""Changes of the roll-out file that leave its other lines as they are."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classifier.errors import RolloutFileError
from classifier.rollout_file.content import FILE, OWN_ALIASES, Rollout, parsed, read


def set_values(models: Path, name: str, values: Mapping[str, Any]) -> Rollout:
    """Change what the file says about one model, and return all it says then.

    Keys are those of `ModelRollout`, with `aliases.NAME` and `guard.NAME` for what lies in its tables; None takes a key
    out. Other lines, and comments, stay. A file that is not there is written. Readers see the old file or the new one.
    Raises RolloutFileError where the file is wrong, or would be; it is left as it was then.
    """
    read(models)
    path = models / FILE
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for key, value in values.items():
        *tables, last = key.split(".")
        text = _with_value(text, ".".join([name, *tables]), last, None if value is None else _toml(value))
    try:
        rollout = parsed(text)
    except RolloutFileError as error:
        raise RolloutFileError(f"{path}: left as it was, for this would be wrong in it: {error}") from error
    _replace(path, text)
    return rollout


def set_alias(models: Path, name: str, alias: str, version: int | None) -> Rollout:
    """Have an alias, `stable` and `canary` among them, name a version, or none. As `set_values`."""
    return set_values(models, name, {alias_key(alias): version})


def alias_key(alias: str) -> str:
    """The key, as `set_values` takes it, that names an alias's version."""
    return alias if alias in OWN_ALIASES else f"aliases.{alias}"


def _with_value(text: str, table: str, key: str, value: str | None) -> str:
    """The text with a line `key = value` in a table; without the line where the value is None."""
    lines = text.splitlines()
    header = re.compile(rf"\s*\[\s*{re.escape(table)}\s*\]\s*(#.*)?")
    start = next((n for n, line in enumerate(lines) if header.fullmatch(line)), None)
    if start is None:
        added = [] if value is None else [*([""] if lines else []), f"[{table}]", f"{key} = {value}"]
        return _joined([*lines, *added])
    end = next((n for n in range(start + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
    assignment = re.compile(rf"(\s*{re.escape(key)}\s*=\s*)([^#]*?)(\s*(?:#.*)?)")
    for n in range(start + 1, end):
        if found := assignment.fullmatch(lines[n]):
            lines[n : n + 1] = [] if value is None else [f"{found[1]}{value}{found[3]}"]
            return _joined(lines)
    if value is not None:
        lines.insert(start + 1, f"{key} = {value}")
    return _joined(lines)


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def _replace(path: Path, text: str) -> None:
    try:
        _put(path, text)
    except OSError as error:
        raise RolloutFileError(f"{path}: cannot be written ({error.strerror})") from error


def _put(path: Path, text: str) -> None:
    descriptor, draft = tempfile.mkstemp(prefix=f".{FILE}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
