"""Checks the JAX engine where there is a GPU, and prints JSON. `load_tests/gpu.sh` runs it without a network.

Run:    python -m load_tests.gpu [--smoke] [--reference FILE] [--out FILE]
Takes:  4.5 minutes at most; what there is no time for is left out and named.
Gives:  --out, rewritten after each part. Everything is compiled first, side by side, and kept for the servers.
        After that each part is measured alone; what still compiles on PyTorch then, is stopped and goes on after HTTP.
        XLA tries few ways of each step, unless XLA_FLAGS says otherwise, so that it compiles sooner.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from load_tests import record
from load_tests.gpu import versions
from load_tests.gpu.over_http import over_http

LIBRARIES = ("jax", "jaxlib", "keras", "torch", "numpy", "pillow", "bentoml", "uvicorn", "simplejpeg")
TOTAL_S = 258.0
# When each part has to be over, as a share of all time. Each begins as soon as the one before is over.
UNTIL = {"compiled": 0.36, "ready": 0.4, "speed": 0.48, "http": 0.88, "torch ready": 0.95, "torch": 1.0}
XLA_FLAGS = "--xla_gpu_autotune_level=1"


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(arguments)
    _choose_less(options)
    os.environ.setdefault("XLA_FLAGS", XLA_FLAGS)
    began = time.monotonic()
    until = {part: began + share * options.total_s for part, share in UNTIL.items()}
    signal.signal(signal.SIGTERM, _end)
    found: dict[str, Any] = record.circumstances(LIBRARIES) | {"smoke": options.smoke, "gpu": _gpu()}
    found |= {"commit": options.commit} if options.commit else {}
    found |= {"arguments": without_file(arguments), "xla_flags": os.environ["XLA_FLAGS"]}

    def keep(part: str) -> None:
        found["seconds"] = found.get("seconds", {}) | {part: round(time.monotonic() - began, 1)}
        print(part, found["seconds"][part], file=sys.stderr, flush=True)
        if options.out:
            record.write(options.out, found)

    keep("begun")
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as folder:
        _share_programs(Path(folder, "programs"))
        parts = versions.started(options, until["compiled"], until["torch ready"], Path(folder))
        on_torch = [one for one in parts if one.keys[0] == "torch"]
        others = [one for one in parts if one not in on_torch]
        try:
            versions.wait_until_ready(others, until["ready"])
            found |= versions.report(parts) | {"programs": _programs(folder)}
            keep("compiled")
            with versions.paused(on_torch):
                versions.measure(others, until["speed"])
                found |= versions.report(parts)
                keep("speed")
                for count in options.servers:
                    part = f"http, {count} servers"
                    found[part] = {}
                    over_http(options, count, until["http"], found[part], partial(keep, part))
                    keep(part)
                found["programs_with_those_of_servers"] = _programs(folder)
            versions.wait_until_ready(on_torch, until["torch ready"])
            versions.measure(on_torch, until["torch"])
        finally:
            for one in parts:
                one.end()
            found |= versions.report(parts)
        keep("torch")
    keep("all")
    print(json.dumps(found, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--smoke", action="store_true", help="tiny: whether it runs at all, on any machine")
    add("--out", type=Path, help="a file for what was found so far")
    add("--total-s", type=float, default=TOTAL_S, help="seconds of everything (default: %(default)s)")
    add("--commit", default="", help="of the code, where it lies outside of a checkout")
    add("--reference", type=Path, default=record.ROOT / "gpu-check" / "reference.npz")
    add("--versions", nargs="+", metavar="NAME@VERSION", help="default: every one")
    add("--images", type=int, default=1_000, help="for the comparison of answers")
    add("--batches", nargs="+", type=int, default=[1, 16, 64, 256, 1024])
    add("--speed-seconds", type=float, default=0.7, help="of each measurement of speed")
    add("--torch", action=argparse.BooleanOptionalAction, default=bool(importlib.util.find_spec("torch")))
    add("--served", nargs="+", default=["cats-vs-dogs@3", "asl@1"], metavar="NAME@VERSION")
    add("--precision", choices=("float32", "bfloat16"), default="float32", help="of the servers")
    add("--max-batch", type=int, default=32, help="of the servers, which compile each size up to it; 0: they measure")
    add("--servers", nargs="+", type=int, default=[1, 8], help="how many share a port")
    add("--connections", nargs="+", type=int, default=[1, 32, 256])
    add("--seconds", type=float, default=3.0, help="of each load")
    add("--generators", type=int, default=4, help="processes that post")
    return parser


def _choose_less(options: argparse.Namespace) -> None:
    """What `--smoke` stands for. Each size is compiled before a server is ready."""
    if options.smoke:
        options.versions = options.served = ["asl@1"]
        options.images, options.batches, options.speed_seconds = 16, [1, 8], 0.2
        options.max_batch, options.servers, options.connections = 2, [1, 2], [1, 8]
        options.seconds, options.generators = 0.5, 2


def without_file(arguments: Sequence[str]) -> list[str]:
    """Without what says where files lie."""
    pairs = zip(["", *arguments], arguments, strict=False)
    return [word for before, word in pairs if not {before, word} & {"--out", "--reference", "--commit"}]


def _share_programs(folder: Path) -> None:
    """Have every process from here on keep what it compiles, however small, and find what others have compiled."""
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TORCHINDUCTOR_CACHE_DIR": str(folder.with_name("inductor")),
        "TORCHINDUCTOR_COMPILE_THREADS": "4",
    }


def _programs(folder: str) -> int:
    """How many compiled programs are kept; servers that find all of theirs add none for a batch."""
    return len(list(Path(folder, "programs").rglob("*-cache")))


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(f"ended by signal {number}")


def _gpu() -> str:
    try:
        command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


if __name__ == "__main__":
    sys.exit(main())
