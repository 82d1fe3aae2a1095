"""What a `.keras` file holds, looked at before Keras opens it.

Keras's `safe_mode` refuses Lambda layers, and has been passed by other layers before (CVE-2026-1462: TFSMLayer). The
networks of this project are made of Keras's own layers alone, so anything else is refused by its name.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from classifier.errors import UnusableNetwork

MEMBERS = re.compile(r"(metadata|config)\.json|model\.weights\.h5")
MAX_CONFIG_BYTES = 20_000_000
MAX_EXPANSION = 20  # weights hardly compress; a bomb does by a thousand

_RUNS_CODE = frozenset({"Lambda", "TFSMLayer", "__lambda__"})


def check(path: Path, body: bytes) -> None:
    """Raise UnusableNetwork unless `body` is an archive of what Keras writes, and names only classes of Keras's own.

    `path` is its name in errors.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            _check_members(path, archive, len(body))
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, NotImplementedError) as error:
        raise UnusableNetwork(f"{path}: Keras cannot load it: it is no .keras archive ({error})") from error
    for name, module, registered in _classes(config):
        if name in _RUNS_CODE or not _is_of_keras(module, registered):
            raise UnusableNetwork(f"{path}: Keras cannot load it safely: it holds {name} of {registered or module}")


def started_from_zeros(body: bytes) -> bytes:
    """A checked archive whose weights are zeros before its own are read, in place of random numbers.

    JAX would compile a program for the random numbers of each shape, which takes longer than all else of loading.
    """
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as archive, zipfile.ZipFile(changed, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            copy.writestr(name, _with_zeros(content) if name == "config.json" else content)
    return changed.getvalue()


def _with_zeros(config: bytes) -> bytes:
    def replace(node: dict[str, Any]) -> dict[str, Any]:
        is_initializer = node.get("module") == "keras.initializers"
        return node | {"class_name": "Zeros", "config": {}, "registered_name": None} if is_initializer else node

    return json.dumps(json.loads(config, object_hook=replace)).encode()


def _check_members(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    if strange := [member.filename for member in members if not MEMBERS.fullmatch(member.filename)]:
        raise UnusableNetwork(f"{path}: Keras cannot load it safely: it holds the files {', '.join(strange[:5])}")
    expanded = sum(member.file_size for member in members)
    if archive.getinfo("config.json").file_size > MAX_CONFIG_BYTES or expanded > MAX_EXPANSION * size:
        raise UnusableNetwork(f"{path}: Keras cannot load it safely: it would unfold to {expanded:,} bytes")


def _classes(config: Any) -> Iterator[tuple[str, str | None, str | None]]:
    """Name, module and registered name of every serialised object, however deep."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(name := node.get("class_name"), str):
                yield name, node.get("module"), node.get("registered_name")
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _is_of_keras(module: str | None, registered: str | None) -> bool:
    """Also what has no module: functions by name, and `__tuple__` and its like."""
    if module is not None and module not in ("keras", "builtins") and not module.startswith("keras."):
        return False
    return registered is None or ">" not in registered
