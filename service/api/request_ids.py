"""The name of a request, in its answer and in the log."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable

HEADER = b"x-request-id"

_FIT_FOR_A_LOG = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

# Ids need only differ, among servers as well; drawing each one anew from the system costs more than the rest of it.
_IDS = itertools.count(secrets.randbits(64))


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's own id where there is one and it is fit for a log, else a new one."""
    given = [value for name, value in headers if name == HEADER]
    if len(given) == 1 and _FIT_FOR_A_LOG.fullmatch(given[0]):
        return str(given[0], "ascii")
    return f"{next(_IDS) & 0xFFFF_FFFF_FFFF_FFFF:016x}"
