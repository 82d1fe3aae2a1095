"""How much of the server's capacity the Python client reaches: python load_tests/client_rate.py [--model NAME]

Starts a server and measures in turn, `--rounds` times: what it answers to single predicts of wrk on 16 connections;
and `Client.predict_many` over `--images` pictures in one go, in a process of its own. Both send the same pictures and
share the machine with the server. Writes --out and ends with 1 where the median ratio is below 0.9 or an answer was an
error. Needs wrk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from load_tests import record  # noqa: E402
from load_tests.chaos import first_model, serving  # noqa: E402
from load_tests.flood import sent  # noqa: E402
from load_tests.peers import OURS, measure  # noqa: E402
from load_tests.peers.measure import Pictures, Target  # noqa: E402
from load_tests.pictures import make  # noqa: E402

LEAST_RATIO = 0.9
CONNECTIONS = 16  # of single predicts, by which capacity is meant; the client sends groups on half as many

# A program such as a user writes. Its CPU time is the client's own: the server is another process.
PROGRAM = """
import json, sys, time
from pathlib import Path
from service.client import Client, ClientError

url, model, folder, images = sys.argv[1:]
files = sorted(Path(folder).iterdir())
with Client(url) as client:
    client.predict(model, files[0])
    wall, cpu = time.perf_counter(), time.process_time()
    answers = client.predict_many(model, (files[n % len(files)] for n in range(int(images))))
    failed = sum(isinstance(result, ClientError) for _, result in answers)
    print(json.dumps({"s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "failed": failed}))
"""


def main() -> int:
    options = _options()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measured(options))
    record.write(options.out, found)
    print(f"median ratio {found['ratio']:.2f} of n={options.rounds} rounds, written to {options.out}")
    failed = any(one["failed"] for one in found["rounds"])
    return int(failed or found["ratio"] < LEAST_RATIO)


async def measured(options: argparse.Namespace) -> dict[str, Any]:
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        sample = make(Path(folder), 27)
        async with serving(options) as server:
            model = options.model or await first_model(server)
            target = measure.target(server, OURS, Pictures(model, "mixed", sample, {}), Path(folder, "bodies"))
            await sent(target, 2, connections=CONNECTIONS)  # everything is warm then
            for _ in range(options.rounds):
                rounds.append(await _round(target, options))
                print(json.dumps(rounds[-1]), flush=True)
    how = {"model": model, "n": options.rounds, "images": options.images, "capacity_by": "wrk"}
    return record.circumstances() | how | {"ratio": statistics.median(one["ratio"] for one in rounds), "rounds": rounds}


async def _round(target: Target, options: argparse.Namespace) -> dict[str, Any]:
    capacity = await sent(target, options.seconds, connections=CONNECTIONS)
    client = await asyncio.to_thread(_client, target, options.images)
    client_per_s = options.images / client["s"]
    return {
        "capacity_per_s": capacity["per_s"],
        "client_per_s": round(client_per_s, 1),
        "ratio": round(client_per_s / capacity["per_s"], 3),
        "client_cpu_us_per_image": round(1e6 * client["cpu_s"] / options.images),
        "failed": client["failed"] + sum(n for status, n in capacity["statuses"].items() if status != "200"),
    }


def _client(target: Target, images: int) -> dict[str, Any]:
    asked = (target.server.url, target.pictures.model, str(target.folder), str(images))
    command = [sys.executable, "-c", PROGRAM, *asked]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of models to serve")
    parser.add_argument("--model", help="the one to ask (default: the first)")
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each capacity run (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "latest" / "client-rate.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
