"""An Atheris target: any bytes give pixels or one of our own errors, within the limits of time and memory.

Run: python -m tests.fuzz.decoder [--apart] -max_total_time=60

Plain pictures are decoded here, as in the server's threads, within two seconds and 2 GB. With --apart all others go to
a decode process, and so the scan of their structure, the process and what it hears are tried as well. Takes the options
of libFuzzer and folders of inputs to begin with; without one it begins with the tests' pictures, ordinary and hostile.
Half an hour of it is recorded in load_tests/results/fuzz.json.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["classifier"]):
    from classifier.card import InputSpec
    from classifier.decode_process import DecodeProcesses
    from classifier.errors import SightlineError
    from classifier.formats import READS_HEIC
    from classifier.images import OpenedImage

from tests import hostile, pictures

SPECS = (
    InputSpec(height=32, width=32, channels=3),
    InputSpec(height=28, width=28, channels=1, contrast="stretch"),
)


PROCESSES = DecodeProcesses(1)
APART = "--apart"
MAX_PIXELS = 1_000_000
MOST_BYTES = 4096
MOST_CPU_S = 3.0  # 2 for a picture, and what starting a process takes


def decode_or_refuse(body: bytes) -> None:
    for spec in SPECS:
        began_s = _cpu_s()
        with contextlib.suppress(SightlineError):
            opened = OpenedImage(body, spec, MAX_PIXELS)
            is_here = opened.is_plain or APART not in sys.argv
            pixels = opened.decode() if is_here else opened.decode_apart(PROCESSES, timeout_s=20)
            assert pixels.shape == spec.shape
        assert _cpu_s() - began_s < MOST_CPU_S


def _cpu_s() -> float:
    """Of this process, and of those that were ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in pictures.FORMATS:
            (Path(folder) / name).write_bytes(pictures.encoded(pictures.scene(), name))
        if READS_HEIC:
            (Path(folder) / "HEIC").write_bytes(pictures.heic(pictures.scene()))
        for spec in SPECS:  # JPEGs of just this size are decoded in a way of their own
            (Path(folder) / f"{spec.width}").write_bytes(pictures.jpeg(pictures.scene(spec.height, spec.width)))
        for one in hostile.drawn(seed=1, count=200):
            if len(one.body) <= MOST_BYTES:
                (Path(folder) / one.name).write_bytes(one.body)
        options = [argument for argument in sys.argv if argument != APART]
        arguments = options if any(not a.startswith("-") for a in options[1:]) else [*options, folder]
        limits = [f"-max_len={MOST_BYTES}", "-rss_limit_mb=2048", "-timeout=10"]
        atheris.Setup([arguments[0], *limits, *arguments[1:]], decode_or_refuse)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
