"""An Atheris target: any bytes give pixels or one of our own errors.

Run: python -m tests.fuzz.decoder -max_total_time=60

Takes libFuzzer's options and folders of inputs to begin with; without one it begins with the tests' pictures.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["classifier"]):
    from classifier.card import InputSpec
    from classifier.errors import SightlineError
    from classifier.images import decode

from tests import pictures

SPECS = (
    InputSpec(height=32, width=32, channels=3),
    InputSpec(height=28, width=28, channels=1, contrast="stretch"),
)


def decode_or_refuse(body: bytes) -> None:
    for spec in SPECS:
        with contextlib.suppress(SightlineError):
            assert decode(body, spec, max_pixels=1_000_000).shape == spec.shape


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in pictures.FORMATS:
            (Path(folder) / name).write_bytes(pictures.encoded(pictures.scene(), name))
        for spec in SPECS:  # JPEGs of just this size are decoded in a way of their own
            (Path(folder) / f"{spec.width}").write_bytes(pictures.jpeg(pictures.scene(spec.height, spec.width)))
        arguments = sys.argv if any(not a.startswith("-") for a in sys.argv[1:]) else [*sys.argv, folder]
        atheris.Setup([*arguments, "-max_len=4096", "-rss_limit_mb=2048"], decode_or_refuse)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
