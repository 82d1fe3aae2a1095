"""Rolling restarts behind nginx: no caller notices one, and nginx needs no rule by which to ask again.

Two servers, processes or containers of an image; callers at a steady rate. Each server in turn gets SIGTERM. Once its
/readyz says 503, whoever runs the restart takes it out of nginx's list, as Kubernetes does with endpoints. It ends,
starts anew, and is put back. Where no engine runs, `python -m tests.deploy.containers` brings one, and our image.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from load_tests import servers
from load_tests.chaos.server import HANGS_AFTER_S, MEDIA_TYPE, pictures, predict_path, serving
from load_tests.generators.arrivals import Answer, Connections
from load_tests.generators.target import post
from load_tests.record import Findings
from load_tests.servers import Server
from load_tests.starts.containers import Container

NOTICE_MS = "2000"  # the server's default
ENDS_WITHIN_S = 60
THUMBNAILS = 3  # pictures, the smallest: photos at this rate would be a test of speed
BETWEEN_S = 1.0  # with both servers in the list
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

_CONFIGURATION = """
daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 1; {user}
events {{ worker_connections 1024; }}
http {{
    access_log off; client_body_buffer_size 1m; client_max_body_size 20m;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    upstream sightline {{ {servers} keepalive 64; keepalive_timeout 60s; }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_timeout 0;  # a reload closes idle connections of callers, which is not what this is about
        location / {{
            proxy_pass http://sightline; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_next_upstream off;
        }}
    }}
}}
"""


def measured(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Restart two servers in turn under load, and count what callers were answered."""
    times = options.times or max(1, round(20 * options.scale))
    if NGINX is None:
        raise SystemExit("the part rolling needs nginx")
    with contextlib.ExitStack() as stack:
        replicas = [InContainer(options.image) if options.image else Replica(options) for _ in range(2)]
        for replica in replicas:
            stack.callback(replica.remove)
            replica.start()
        router = stack.enter_context(_nginx(NGINX, replicas))
        load = stack.enter_context(_Load(router, options.per_s))
        took_s = [_restart(replica, router) for replica in itertools.islice(itertools.cycle(replicas), times)]
        answers = load.end()
    outcomes = Counter(answer.status for answer in answers)
    failed = [answer for answer in answers if answer.status != "200" or b'"predictions"' not in answer.content]
    what = "containers" if options.image else "processes"
    promises[
        f"{times} rolling restarts of two {what} behind nginx that asks nobody again: no request fails"
    ] = not failed
    promises["rolling restarts: callers were there through all of them"] = (
        len(answers) > options.per_s * sum(took_s) / 10
    )
    return {
        "n": times,
        "servers": f"two {what}",
        "offered_per_s": options.per_s,
        "served_per_s": round(len(answers) / sum(took_s), 1),
        "notice_ms": int(NOTICE_MS),
        "outcomes": dict(outcomes),
        "failed": len(failed),
        "first_failures": [repr(answer.content[:300] or answer.fault) for answer in failed[:5]],
        "restart_s": [round(seconds, 2) for seconds in took_s],
    }


class Replica:
    """A server of our own on a port of its own, which can be started again."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.port = servers.free_port()
        self._options = options
        self._running = contextlib.ExitStack()
        self._server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._server = self._running.enter_context(serving(self._options, self.port, SHUTDOWN_NOTICE_MS=NOTICE_MS))

    def terminate(self) -> Callable[[], None]:
        """Send it SIGTERM. What is given back waits until it has ended."""
        self._server.send_signal(signal.SIGTERM)

        def wait() -> None:
            self._server.wait(ENDS_WITHIN_S)
            self._running.close()

        return wait

    def remove(self) -> None:
        self._running.close()


class InContainer:
    """The same in a container of an image, which is stopped and started again."""

    def __init__(self, image: str) -> None:
        self._container = Container(image, SHUTDOWN_NOTICE_MS=NOTICE_MS)
        self.port, self.url = self._container.port, self._container.url

    def start(self) -> None:
        self._container.start()
        self._container.wait_until_ready()

    def terminate(self) -> Callable[[], None]:
        ended = self._container.begin_to_stop()

        def wait() -> None:
            if ended.wait(ENDS_WITHIN_S):
                raise SystemExit(f"the engine could not stop a container; its log ends:\n{self._container.log[-2000:]}")

        return wait

    def remove(self) -> None:
        self._container.remove()


def _status(url: str) -> int:
    """What /readyz answers now; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:  # noqa: S310  (a server of our own)
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


AnyReplica = Replica | InContainer


class _Router:
    """nginx, and which servers it knows."""

    def __init__(self, home: Path, replicas: Sequence[AnyReplica]) -> None:
        self.port = servers.free_port()
        self._home = home
        self._replicas = replicas
        self.process: subprocess.Popen[bytes] | None = None

    def list_all_but(self, left_out: AnyReplica | None) -> None:
        """Write nginx's list, and have it read that if it runs."""
        lines = [f"server 127.0.0.1:{one.port} max_fails=0{' down' * (one is left_out)};" for one in self._replicas]
        user = "user root;" if os.geteuid() == 0 else ""
        text = _CONFIGURATION.format(home=self._home, servers=" ".join(lines), port=self.port, user=user)
        (self._home / "nginx.conf").write_text(text)
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)


@contextlib.contextmanager
def _nginx(program: str, replicas: Sequence[AnyReplica]) -> Iterator[_Router]:
    with tempfile.TemporaryDirectory(prefix="rolling-") as folder:
        home = Path(folder)
        router = _Router(home, replicas)
        router.list_all_but(None)
        command = [program, *map(str, ("-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"))]
        router.process = process = subprocess.Popen(command)
        try:
            until = time.monotonic() + 20
            while time.monotonic() < until and not _answers(router.port):
                time.sleep(0.05)
            yield router
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int) -> bool:
    try:
        return bool(servers.fetch(f"http://127.0.0.1:{port}/livez"))
    except OSError:
        return False


def _restart(replica: AnyReplica, router: _Router) -> float:
    """End one server and start it anew, as a rolling restart does; how many seconds that took."""
    began = time.monotonic()
    wait = replica.terminate()
    while _status(replica.url) == 200:
        time.sleep(0.02)
    router.list_all_but(replica)
    wait()
    replica.start()
    router.list_all_but(None)
    time.sleep(BETWEEN_S)
    return time.monotonic() - began


class _Load:
    """Callers who ask nginx at a steady rate, from a thread of their own, until `end`."""

    def __init__(self, router: _Router, per_s: float) -> None:
        self._router = router
        self._per_s = per_s
        self._over = threading.Event()
        self._answers: list[Answer] = []

    def __enter__(self) -> _Load:
        path = predict_path(f"http://127.0.0.1:{self._router.port}")
        requests = [post(path, body, MEDIA_TYPE) for body in sorted(pictures(), key=len)[:THUMBNAILS]]
        self._thread = threading.Thread(target=self._post, args=(requests,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def end(self) -> list[Answer]:
        """Stop asking, wait for what is still to be answered, and give all answers."""
        self._over.set()
        self._thread.join()
        return self._answers

    def _post(self, requests: list[bytes]) -> None:
        connections = Connections(self._router.port, most=200, answer_within_s=HANGS_AFTER_S)
        self._answers = connections.post(itertools.cycle(requests), self._moments())

    def _moments(self) -> Iterator[float]:
        for number in itertools.count():
            if self._over.is_set():
                return
            yield number / self._per_s
