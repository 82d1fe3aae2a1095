"""A short load test that brings its own server: starts it, waits until it is ready, runs Locust, stops it.

Run:   python load_tests/run.py [--users 4] [--seconds 20] [--models DIR] [--url URL of a running server]
Ends:  0 when every answer was right, otherwise what Locust ended with; CSV and HTML lie in --out.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 120


def main() -> int:
    options = _options()
    environ = os.environ | {"BENTOML_DO_NOT_TRACK": "True"}
    if options.models:
        environ["SIGHTLINE_MODELS"] = str(options.models.resolve())
    if options.url:
        return _locust(options, options.url, environ)
    with _serving(environ) as url:
        return _locust(options, url, environ)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A short load test that checks every answer.")
    parser.add_argument("--users", type=int, default=4, help="callers at a time (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=20, help="how long (default: %(default)s)")
    parser.add_argument("--models", type=Path, help="the model store (default: models/)")
    parser.add_argument("--url", help="test this server, which serves the same store, instead of starting one")
    parser.add_argument("--out", type=Path, default=ROOT / "load_tests" / "results" / "latest", help="where results go")
    return parser.parse_args()


def _locust(options: argparse.Namespace, url: str, environ: dict[str, str]) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    load = ["--users", str(options.users), "--spawn-rate", str(options.users), "--run-time", f"{options.seconds}s"]
    files = ["--csv", str(options.out / "run"), "--html", str(options.out / "run.html")]
    command = [sys.executable, "-m", "locust", "-f", "load_tests/locustfile.py", "--host", url, "--headless"]
    return subprocess.run([*command, *load, *files, "--only-summary"], cwd=ROOT, env=environ, check=False).returncode


@contextmanager
def _serving(environ: dict[str, str]) -> Iterator[str]:
    """A server of its own, with its own BentoML home: servers that share one wipe each other's metrics."""
    port = _free_port()
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "service.app:Sightline",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with tempfile.TemporaryDirectory(prefix="load-test-bentoml-") as home:
        server = subprocess.Popen(command, cwd=ROOT, env=environ | {"BENTOML_HOME": home})
        try:
            _wait_until_ready(server, f"http://127.0.0.1:{port}/readyz")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(60)


def _wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    said = "nothing"
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 (our own server)
            return
        except urllib.error.HTTPError as error:
            said = error.read().decode()
        except OSError:  # not listening yet
            pass
        time.sleep(0.2)
    raise SystemExit(f"the server did not become ready; it said: {said}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
