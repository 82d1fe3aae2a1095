"""A short load test that brings its own server: starts it, waits until it is ready, runs Locust, stops it.

Run:   python -m load_tests.run [--rate 20 | --users 4] [--seconds 20] [--models DIR] [--url URL of a running server]
Ends:  0 when every answer was right and every limit of --slo kept, otherwise what Locust ended with. CSV, an HTML
       report and a JSON summary lie in --out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from load_tests import record, servers

LOAD_TESTS = record.ROOT / "load_tests"


def main() -> int:
    options = _options()
    environ = dict(os.environ)
    if options.models:
        environ["SIGHTLINE_MODELS"] = str(options.models.resolve())
    if options.url:
        return _locust(options, options.url, environ)
    with servers.sightline(environ) as server:
        return _locust(options, server.url, environ)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A short load test that checks every answer.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--rate", type=float, default=20.0, help="requests a second, answered or not (default: 20)")
    how.add_argument("--users", type=int, help="instead, so many callers who each wait for their answer")
    parser.add_argument("--seconds", type=int, default=20, help="how long (default: %(default)s)")
    parser.add_argument("--models", type=Path, help="the model store (default: models/)")
    parser.add_argument("--url", help="test this server, which serves the same store, instead of starting one")
    parser.add_argument("--slo", type=Path, default=LOAD_TESTS / "slo.toml", help="the limits (default: slo.toml)")
    parser.add_argument("--out", type=Path, default=record.LATEST, help="where results go")
    return parser.parse_args()


def _locust(options: argparse.Namespace, url: str, environ: dict[str, str]) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    users = options.users or 1
    traffic = ["Caller"] if options.users else ["Arrivals", "--rate", str(options.rate)]
    load = [*traffic, "--users", str(users), "--spawn-rate", str(users), "--run-time", f"{options.seconds}s"]
    files = ["--csv", str(options.out / "run"), "--html", str(options.out / "run.html")]
    files += ["--summary", str(options.out / "run.json"), "--slo", str(options.slo)]
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(LOAD_TESTS / "generators" / "locustfile.py"),
        "--host",
        url,
        "--headless",
    ]
    return subprocess.run(
        [*command, *load, *files, "--only-summary"], cwd=record.ROOT, env=environ, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
