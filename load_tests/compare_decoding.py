"""Decoding in this checkout beside another checkout's, in alternating pairs: has it become slower?

Run:    python -m load_tests.compare_decoding OTHER_CHECKOUT [--starts 5] [--pairs 12] [--ms 50]
Needs:  a quiet machine; takes about three minutes.
Gives:  a table, and --out, the raw results: microseconds of a processor for each picture, of both, and the ratio of
        the other's to ours, so that above 1 ours is the faster one. Ends with 1 where a median ratio is below --least.

Each checkout decodes in a process of its own, with this interpreter. While one is measured the other waits. Two
processes of one checkout differ by some per cent, for as long as they run: so both are started anew several times.
docs/tuning.md#plain-pictures
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from classifier import provenance
from classifier.store import ModelStore
from load_tests import record
from load_tests.pictures import jpegs
from load_tests.workload import IMAGES

# Asked with a line of JSON, it answers with seconds of a processor.
CHILD = """
import gc, json, sys, time
sys.path.insert(0, ".")
from classifier.card import InputSpec
from classifier.images import decode
gc.disable()
for line in sys.stdin:
    asked = json.loads(line)
    spec, bodies = InputSpec(**asked["spec"]), [open(file, "rb").read() for file in asked["files"]]
    began = time.process_time()
    for _ in range(asked["times"]):
        for body in bodies:
            decode(body, spec)
    print(time.process_time() - began, flush=True)
"""
PICTURES = 10  # of each size and format, decoded in turn
LIBRARIES = ("pillow", "numpy", "simplejpeg")


class Load(NamedTuple):
    """Pictures of one size and format, and the network's input that they are decoded to."""

    name: str
    spec: Mapping[str, Any]
    files: Sequence[str]


class Side:
    """The process of one checkout."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def seconds(self, load: Load, times: int) -> float:
        """Of a processor, to decode each picture of a load so many times. Raises EOFError where the process ended."""
        if self._process.stdin is None or self._process.stdout is None:
            raise EOFError
        self._process.stdin.write(json.dumps({"spec": load.spec, "files": load.files, "times": times}) + "\n")
        self._process.stdin.flush()
        if not (answer := self._process.stdout.readline()):
            raise EOFError("the other checkout's decoder ended; what it said is above")
        return float(answer)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    commits = {"ours": provenance.commit_of(record.ROOT), "other": provenance.commit_of(options.other)}
    counts = {"starts": options.starts, "pairs_of_each": options.pairs}
    results = record.circumstances(LIBRARIES) | counts | {"commits": commits, "loads": {}}
    with tempfile.TemporaryDirectory() as folder:
        for load in _loads(options.store, Path(folder)):
            results["loads"][load.name] = found = _compared(load, options)
            print(f"{load.name:24} {found['ours_us']:9.1f} {found['other_us']:9.1f} us  ratio {found['ratio']:.3f}")
            record.write(options.out, results)
    least = min(results["loads"].items(), key=lambda one: one[1]["ratio"])
    pairs = f"{options.starts} x {options.pairs} pairs"
    print(f"least ratio {least[1]['ratio']:.3f} ({least[0]}), n={pairs}; written to {options.out}")
    return 0 if least[1]["ratio"] >= options.least else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("other", type=Path, metavar="OTHER_CHECKOUT", help="folder of the other checkout")
    add("--starts", type=int, default=5, help="of both processes, by load (default: %(default)s)")
    add("--pairs", type=int, default=12, help="measurements of each, by start (default: %(default)s)")
    add("--ms", type=float, default=50.0, help="of each measurement, about (default: %(default)s)")
    add("--least", type=float, default=0.98, help="median ratio that is good enough (default: %(default)s)")
    add("--store", type=Path, default=record.ROOT / "models", help="default: models/")
    add("--out", type=Path, default=record.LATEST / "compare-decoding.json", help="default: %(default)s")
    return parser


@contextmanager
def _side(checkout: Path) -> Iterator[Side]:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=checkout, env=environ) as process:
        yield Side(process)


def _loads(store: Path, folder: Path) -> Iterator[Load]:
    """JPEGs of the sizes that speed is measured with, and PNGs of the same pixels."""
    for model, sizes in IMAGES.items():
        spec = ModelStore(store).card(model, version=1).input
        wanted = {name: getattr(spec, name) for name in ("height", "width", "channels", "resize", "contrast")}
        for width, height in sizes:
            made = jpegs(folder / f"{model}-{width}", (width, height), PICTURES, grey=spec.channels == 1)
            size = f"{model} {width}x{height}"
            yield Load(f"{size} JPEG", wanted, [str(one.path) for one in made])
            yield Load(f"{size} PNG", wanted, [str(_as_png(one.path)) for one in made])


def _as_png(jpeg: Path) -> Path:
    png = jpeg.with_suffix(".png")
    with Image.open(io.BytesIO(jpeg.read_bytes())) as image:
        image.save(png)
    return png


def _compared(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    pairs: list[tuple[float, float]] = []
    for _ in range(options.starts):
        with _side(record.ROOT) as ours, _side(options.other) as other:
            pairs += _pairs(load, ours, other, options)
    return {
        "ours_us": round(1e6 * statistics.median(mine for mine, _ in pairs), 2),
        "other_us": round(1e6 * statistics.median(theirs for _, theirs in pairs), 2),
        "ratio": round(statistics.median(theirs / mine for mine, theirs in pairs), 4),
        "pair_ratios": [round(theirs / mine, 4) for mine, theirs in pairs],
    }


def _pairs(load: Load, ours: Side, other: Side, options: argparse.Namespace) -> Iterator[tuple[float, float]]:
    """Seconds for a picture, of ours and of the other."""
    for side in (ours, other):
        side.seconds(load, 20)  # what is imported and cached by the first
    times = max(1, round(options.ms / 1000 / (ours.seconds(load, 10) / 10)))
    for number in range(options.pairs):
        turn = (ours, other) if number % 2 else (other, ours)
        taken = {side: side.seconds(load, times) / times / len(load.files) for side in turn}
        yield taken[ours], taken[other]


if __name__ == "__main__":
    sys.exit(main())
