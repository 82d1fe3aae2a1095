"""A command run as a person would, and what it costs: seconds, memory, and how long it says nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def observed(arguments: list[str], work: Path) -> dict[str, Any]:
    """Run `sightline` in a folder, and show what it says with the seconds before each line.

    Gives its exit code, seconds, peak resident memory in bytes, longest silence, and lines.
    """
    began = said_last = time.monotonic()
    silence_s, lines = 0.0, []
    with subprocess.Popen(
        [sys.executable, "-m", "classifier.commands", *arguments],
        cwd=work,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            now = time.monotonic()
            silence_s, said_last = max(silence_s, now - said_last), now
            lines.append(line.rstrip("\n"))
            sys.stdout.write(f"{now - began:7.1f} {line}")
            sys.stdout.flush()
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    return {
        "command": arguments,
        "exit_code": running.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "peak_rss_bytes": used.ru_maxrss * 1024,
        "longest_silence_s": round(silence_s, 1),
        "said": lines,
    }
