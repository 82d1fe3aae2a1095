"""The environment of processes that handle what is not trusted: pictures, and versions not tried yet."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path(__file__).parents[2]  # of the package, wherever that is installed
_NEEDED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "LANG", "LC_ALL", "TZ")


def child_environment(**variables: str) -> dict[str, str]:
    """What Python needs to start and find this package, and these variables: no API key, no token."""
    ours = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    return ours | {"PYTHONPATH": str(_ROOT), "PYTHONSAFEPATH": "1"} | variables
