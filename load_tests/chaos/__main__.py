"""What the server is to survive, measured.

Run:    python -m load_tests.chaos [--parts flood sigterm rolling hostile claims unfolding corpus] [--scale 1]
Needs:  wrk for the flood, nginx for rolling restarts.
Gives:  --out, what each part found, beside what other parts have found before; ends with 1 where a promise is broken.

Starts servers of its own: a flood at four times capacity with stalled connections beside it; SIGTERMs under load;
hostile inputs with memory before and after; two pictures that claim gigapixels; bodies that become many times as large,
and hostile pictures, beside honest ones; rolling restarts of two servers, or of two containers, behind nginx.
`--scale 1` is what the promises are about and takes some minutes; the default is a short look. Single parts in full:

    python -m load_tests.chaos --parts hostile claims --inputs 10000
    python -m load_tests.chaos --parts sigterm --times 20
    python -m load_tests.chaos --parts rolling --times 20
    python -m load_tests.chaos --parts rolling --times 20 --image sightline:latest
    python -m load_tests.chaos --parts flood --scale 1 --rounds 3
    python -m load_tests.chaos --parts unfolding
    python -m tests.hostile /tmp/corpus && python -m load_tests.chaos --parts corpus --corpus /tmp/corpus
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from load_tests import record
from load_tests.chaos import corpus, flood, hostile, rolling, sigterm, unfolding
from load_tests.record import Findings

Promises = dict[str, bool]

PARTS: dict[str, Callable[[argparse.Namespace, Promises], Findings]] = {
    "flood": flood.measured,
    "sigterm": sigterm.measured,
    "rolling": rolling.measured,
    "hostile": hostile.measured,
    "claims": hostile.claims,
    "unfolding": unfolding.measured,
    "corpus": corpus.measured,
}


LONG = {"unfolding", "corpus", "rolling"}  # which are for quiet machines


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    results: Findings = record.read(options.out) or {}
    every: Promises = {}
    for name in options.parts:
        print(f"{name} ...", flush=True)
        promises: Promises = {}
        circumstances = record.circumstances() | {"scale": options.scale, "promises": promises}
        results[name] = circumstances | PARTS[name](options, promises)
        every |= promises
        record.write(options.out, results)
        print(json.dumps(results[name]), flush=True)
    for promise, kept in every.items():
        print(f"{'kept  ' if kept else 'BROKEN'} {promise}")
    print(f"written to {options.out}")
    return 0 if all(every.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    add("--scale", type=float, default=0.05, help="1 is the whole of it (default: %(default)s)")
    possible = [part for part in PARTS if part not in LONG and (part != "flood" or shutil.which("wrk"))]
    add(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=possible,
        help="default: all but unfolding, corpus and rolling; a flood needs wrk",
    )
    add("--image", help="for the part rolling: restart containers of this image, in place of processes")
    add("--corpus", type=Path, help="for the part corpus: a folder written by python -m tests.hostile")
    add("--rounds", type=int, default=1, help="of the flood (default: %(default)s)")
    add("--per-s", type=float, default=200.0, help="requests during rolling restarts (default: %(default)s)")
    add("--times", type=int, help="SIGTERMs, rolling restarts (default: 20 times the scale)")
    add(
        "--inputs",
        type=int,
        help="hostile inputs (default: 10,000 times the scale; 200 of each kind; all of the corpus)",
    )
    add("--out", type=Path, default=record.LATEST / "chaos.json", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
