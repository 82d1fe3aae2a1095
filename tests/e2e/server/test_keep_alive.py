"""A load balancer keeps connections for as long as it likes, and none is closed under a request of its."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.servers import Server, free_port
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

# Callers, requests of each, and the longest pause between two in seconds. KEEP_ALIVE_TEST=long takes half an hour, as
# recorded in load_tests/results/keep-alive.json.
CALLERS, TIMES, LONGEST_S = (200, 50, 70.0) if os.environ.get("KEEP_ALIVE_TEST") == "long" else (30, 4, 11.0)

PREDICT = f"/v1/models/{COLOUR}/predict"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

CONFIGURATION = """
daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    upstream sightline {{ server {upstream}; keepalive 64; keepalive_timeout 60s; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://sightline; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_next_upstream off;
            add_header x-connect-time $upstream_connect_time;
        }}
    }}
}}
"""


@contextmanager
def nginx_before(server: Server, home: Path) -> Iterator[str]:
    """nginx as a reverse proxy that keeps its connections for 60 s, and its address."""
    port, configuration = free_port(), home / "nginx.conf"
    upstream = httpx.URL(server.url).netloc.decode()
    configuration.write_text(CONFIGURATION.format(home=home, upstream=upstream, port=port))
    process = subprocess.Popen([str(NGINX), "-p", home, "-c", configuration, "-e", home / "error.log"])
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                httpx.get(f"http://127.0.0.1:{port}/livez")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def test_a_connection_that_lay_idle_for_longer_than_bentoml_asks_is_answered(server: Server) -> None:
    for_ever = httpx.Limits(keepalive_expiry=None)
    with httpx.Client(base_url=server.url, timeout=20, limits=for_ever) as client:
        ports = []
        for pause_s in (11, 0):  # BentoML has uvicorn close after 5 s, and a head may take 10 s
            with client.stream("POST", PREDICT, content=jpeg()) as answer:
                assert answer.status_code == 200
                ports.append(answer.extensions["network_stream"].get_extra_info("client_addr"))
                answer.read()
            time.sleep(pause_s)
    assert ports[0] == ports[1]


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.timeout(TIMES * (LONGEST_S + 10) + 60)
def test_nginx_in_front_never_answers_502(server: Server, tmp_path: Path) -> None:
    def ask(seed: int) -> Counter[tuple[int, bool]]:
        pauses, found = random.Random(seed), Counter[tuple[int, bool]]()
        with httpx.Client(base_url=url, timeout=30) as client:
            for times_left in reversed(range(TIMES)):
                answer = client.post(PREDICT, content=jpeg(seed=seed))
                found[answer.status_code, answer.headers.get("x-connect-time") == "0.000"] += 1
                time.sleep(pauses.uniform(1, LONGEST_S) if times_left else 0)
        return found

    with nginx_before(server, tmp_path) as url, ThreadPoolExecutor(CALLERS) as pool:
        found = sum(pool.map(ask, range(CALLERS)), Counter())
    assert {status for status, _ in found} == {200}, found
