"""How fast `sightline score` is beside decoding and the network alone in one process, and how much memory it takes.

Run:    python -m load_tests.bulk [--models cifar-10 …] [--images 5000] [--rounds 3] [--out FILE]
Needs:  a quiet machine; four minutes. For memory: --models cifar-10 --images 200000 --rounds 1, four minutes.
Gives:  --out, the raw results, and a line for each model: images per second of whole jobs, with the start of their
        decode processes and the table; of their middle, from a fifth to four fifths; and of the limit, from
        `load_tests.limit` in turns with them. The ratio is that of the middle to the limit. `peak_mib` is what all
        processes of a job held; a page that several share counts once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from load_tests import record, workload
from load_tests.pictures import jpegs
from load_tests.servers import process_ids, proportional_bytes
from load_tests.workload import VERSIONS

SIDES = {"cifar-10": 32, "cats-vs-dogs": 200}
BATCH = "32"  # as a job's
LOOK_EVERY_S = 1.0  # how much memory a job has
LIBRARIES = ("openvino", "pillow", "numpy", "pyarrow")


def main() -> int:
    options = _parser().parse_args()
    results = record.circumstances(LIBRARIES) | {"images": options.images, "models": {}}
    for model in options.models:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            results["models"][model] = found = _measured(model, Path(folder), options)
        record.write(options.out, results)
        rates = "whole jobs {jobs_per_s:,.0f}/s, their middle {middle_per_s:,.0f}/s, limit {limit_per_s:,.0f}/s"
        memory = max(job["peak_mib"] for job in found["jobs"])
        print(f"{model}: {rates.format(**found)}, ratio {found['ratio']:.3f}, memory {memory} MiB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", choices=SIDES, default=list(SIDES))
    add("--images", type=int, default=5_000, help="of each (default: %(default)s)")
    add("--rounds", type=int, default=3, help="jobs and limits in turns (default: %(default)s)")
    add("--out", type=Path, default=record.LATEST / "bulk.json", help="default: %(default)s")
    return parser


def _measured(model: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    images = _spread(model, folder / "images", options.images)
    jobs, limits = [], []
    for number in range(options.rounds):
        limits.append(_limit(model, folder / f"limit-{number}.json"))
        jobs.append(_job(model, images, folder / f"{number}.parquet"))
    rates = {
        "jobs_per_s": statistics.median(job["images"] / job["seconds"] for job in jobs),
        "middle_per_s": statistics.median(job["middle_per_s"] for job in jobs),
        "limit_per_s": statistics.median(limits),
    }
    ratio = rates["middle_per_s"] / rates["limit_per_s"]
    return rates | {"ratio": ratio, "jobs": jobs, "limits_per_s": limits}


def _spread(model: str, folder: Path, count: int) -> Path:
    """So many files, of 40 different pictures in turn."""
    side = SIDES[model]
    sample = [picture.body for picture in jpegs(folder.with_name("sample"), (side, side), workload.SAMPLE)]
    for number in range(count):
        file = folder / f"{number // 1_000:04}" / f"{number:07}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sample[number % len(sample)])
    return folder


def _job(model: str, images: Path, out: Path) -> dict[str, Any]:
    store = str(record.ROOT / "models")
    command = [sys.executable, "-m", "load_tests.bulk.job", store, model, str(VERSIONS[model]), str(images), str(out)]
    peak_bytes = 0
    with subprocess.Popen(command, cwd=record.ROOT, stdout=subprocess.PIPE, text=True) as job:
        while job.poll() is None:
            peak_bytes = max(peak_bytes, sum(map(proportional_bytes, process_ids(job.pid))))
            time.sleep(LOOK_EVERY_S)
        said, _ = job.communicate()
    if job.returncode:
        raise SystemExit(f"the job ended with {job.returncode}; what it said stands above")
    found: dict[str, Any] = json.loads(said)
    return found | {"peak_mib": peak_bytes >> 20}


def _limit(model: str, out: Path) -> float:
    """Images per second, decoded by two threads and run, of the side that is scored."""
    how = ["--parts", "both", "--models", model, "--rounds", "1", "--out", str(out)]
    subprocess.run(
        [sys.executable, "-m", "load_tests.limit", *how], cwd=record.ROOT, check=True, stdout=subprocess.DEVNULL
    )
    side = SIDES[model]
    runs = json.loads(out.read_text())["runs"]
    return float(next(run["both_per_s"][BATCH] for run in runs if run["image"] == f"{side}x{side}"))


if __name__ == "__main__":
    sys.exit(main())
