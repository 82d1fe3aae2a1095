"""Checks the JAX engine where there is a GPU, and prints JSON. `load_tests/gpu.sh` runs it without a network.

Run:    python -m load_tests.gpu [--smoke] [--reference FILE]
Takes:  under 8 minutes; what there is no time for is left out and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from load_tests import record
from load_tests.gpu.over_http import over_http

LIBRARIES = ("jax", "jaxlib", "keras", "torch", "numpy", "pillow", "bentoml")
TOTAL_S = 460.0
# When each part has to be over, in seconds from the start.
UNTIL_S = {"agreement": 110.0, "speed": 220.0, "memory": 240.0, "http": 340.0, "torch": TOTAL_S}
SMOKE = ("--images", "16", "--batches", "1", "8", "--seconds", "0.2", "--models", "asl@1")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    began = time.monotonic()
    found: dict[str, Any] = record.circumstances(LIBRARIES) | {"smoke": options.smoke, "gpu": _gpu()}
    for part in ("agreement", "speed", "memory"):
        found[part] = _apart("jax", part, began + UNTIL_S[part], options)
    options.until = began + UNTIL_S["http"]
    if options.smoke:
        options.connections, options.seconds, options.generators = [1, 8], 0.5, 2
    found["http"] = over_http(options)
    found["torch"] = (
        _apart("torch", "speed", began + UNTIL_S["torch"], options)
        if importlib.util.find_spec("torch")
        else "not installed"
    )
    found["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(found, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--smoke", action="store_true", help="tiny: whether it runs at all, on any machine")
    add("--reference", type=Path, default=record.ROOT / "gpu-check" / "reference.npz")
    add("--precision", choices=("auto", "float32", "bfloat16"), default="bfloat16", help="of the server")
    add("--connections", nargs="+", type=int, default=[1, 32, 256])
    add("--seconds", type=float, default=5.0, help="of each load")
    add("--generators", type=int, default=4, help="processes that post")
    return parser


def _apart(library: str, part: str, until: float, options: argparse.Namespace) -> Any:
    """A part in a process of its own, since Keras has one backend in each; what went wrong where it fails."""
    words = [library, part, "--reference", str(options.reference), "--until", str(until)]
    command = [sys.executable, "-m", "load_tests.gpu.in_process", *words, *(SMOKE if options.smoke else ())]
    print(part, library, file=sys.stderr, flush=True)
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=until - time.monotonic() + 60)
        return json.loads(run.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        return {"error": error.stderr[-2000:]}
    except subprocess.TimeoutExpired:
        return {"error": "it took too long"}


def _gpu() -> str:
    try:
        command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


if __name__ == "__main__":
    sys.exit(main())
