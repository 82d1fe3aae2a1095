"""Whom a server asks, as strace sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

# Every way to reach somebody else: `connect` for look-ups and TCP, the others for what is sent without it.
STRACE = ("--follow-forks", "--seccomp-bpf", "--quiet=all", "--trace=connect,sendto,sendmsg,sendmmsg")

ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
LOOPBACK = ("127.", "::1", "0.0.0.0", "::")  # noqa: S104
DNS = re.compile(r"htons\(53\)")


def asked(trace: Path) -> list[str]:
    """Lines of a trace in which somebody outside, or a resolver, was written to."""
    lines = trace.read_text(errors="replace").splitlines()
    return [line for line in lines if DNS.search(line) or _is_outside(line)]


def _is_outside(line: str) -> bool:
    found = ADDRESS.search(line)
    address = next(filter(None, found.groups())) if found else ""
    return bool(address) and not address.startswith(LOOPBACK)


def portable_strace(folder: Path) -> list[str]:
    """Copy this machine's strace into a folder, for a container that has none; returns the words that start it there.

    They begin with the name of a program in `folder`, which is `/traced` in the container.
    """
    program = shutil.which("strace")
    assert program
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for path in [program, *re.findall(r"(/\S+)", listed)]:
        shutil.copy(path, folder)
    (loader,) = (path.name for path in folder.iterdir() if path.name.startswith("ld-linux"))
    return [f"/traced/{loader}", "--library-path", "/traced", "/traced/strace"]
