"""How much of the server's capacity the Python client reaches: python load_tests/client_rate.py [--model NAME]

Starts a server and measures in turn, `--rounds` times: what it answers to single predicts on 16 connections, asked
by wrk where that is installed, else by the load generator of chaos.py; and `Client.predict_many` over `--images`
pictures in one go, in a process of its own. Both send the same pictures and share the machine with the server. Writes
--out and ends with 1 where the median ratio is below 0.9 or an answer was an
error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
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
from load_tests.chaos import asker, callers, closed_loop, serving  # noqa: E402
from load_tests.pictures import make  # noqa: E402
from load_tests.servers import Server  # noqa: E402

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

# wrk asks for the next request on every free connection; the files are read once.
SCRIPT = """
local requests, turn = {}, 0
init = function(names)
   for i, name in ipairs(names) do
      local file = io.open(name, "rb")
      requests[i] = wrk.format("POST", nil, {["Content-Type"] = "application/octet-stream"}, file:read("*a"))
      file:close()
   end
end
request = function()
   turn = turn % #requests + 1
   return requests[turn]
end
done = function(summary, latency, _)
   local errors = summary.errors
   local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
   io.write(string.format('\\n{"answered": %d, "us": %d, "failed": %d}\\n', summary.requests, summary.duration, failed))
end
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
    generator = "wrk" if shutil.which("wrk") else "load_tests/chaos.py"
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), 27)
        async with serving(options) as server:
            model = options.model or await _first_model(server)
            await _capacity(server, model, Path(folder), seconds=2)  # everything is warm then
            for _ in range(options.rounds):
                rounds.append(await _round(server, model, Path(folder), options))
                print(json.dumps(rounds[-1]), flush=True)
    how = {"model": model, "n": options.rounds, "images": options.images, "capacity_by": generator}
    return record.circumstances() | how | {"ratio": statistics.median(one["ratio"] for one in rounds), "rounds": rounds}


async def _round(server: Server, model: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    capacity_per_s, refused = await _capacity(server, model, folder, options.seconds)
    client = await asyncio.to_thread(_client, server, model, folder, options.images)
    client_per_s = options.images / client["s"]
    return {
        "capacity_per_s": round(capacity_per_s, 1),
        "client_per_s": round(client_per_s, 1),
        "ratio": round(client_per_s / capacity_per_s, 3),
        "client_cpu_us_per_image": round(1e6 * client["cpu_s"] / options.images),
        "failed": client["failed"] + refused,
    }


def _client(server: Server, model: str, folder: Path, images: int) -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, server.url, model, str(folder), str(images)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def _capacity(server: Server, model: str, folder: Path, seconds: float) -> tuple[float, int]:
    """Right answers per second, and how many were none."""
    path = f"/v1/models/{model}/predict"
    if wrk := shutil.which("wrk"):
        return await asyncio.to_thread(_by_wrk, wrk, server.url + path, folder, seconds)
    found = await closed_loop(await asker(server, path), CONNECTIONS, seconds)
    return found["good_per_s"], sum(found["statuses"].values()) - found["statuses"].get("200", 0)


def _by_wrk(wrk: str, url: str, folder: Path, seconds: float) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as place:
        script = Path(place, "pictures.lua")
        script.write_text(SCRIPT, encoding="utf-8")
        load = ["--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{max(1, round(seconds))}s"]
        command = [wrk, *load, "--script", str(script), url, "--", *map(str, sorted(folder.iterdir()))]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return 1e6 * (found["answered"] - found["failed"]) / found["us"], found["failed"]


async def _first_model(server: Server) -> str:
    async with callers(server) as client:
        return str((await client.get("/v1/models")).json()["models"][0]["model"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of models to serve")
    parser.add_argument("--model", help="the one to ask (default: the first)")
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each capacity run (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "latest" / "client-rate.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
