"""One header of an ASGI scope. Starlette's mapping decodes every name at each look, and there are several looks."""

from __future__ import annotations

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """The value of the first header of this name, which is lower case as ASGI's are; None without one."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None
