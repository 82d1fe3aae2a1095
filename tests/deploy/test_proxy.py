"""nginx as deploy/compose.yaml runs it, in front of a real server."""

from __future__ import annotations

import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.deploy.proxy import Proxy, nginx, nginx_that_follows_readiness
from tests.e2e.servers import Server, serving, wait_until
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (shutil.which("nginx") and shutil.which("openssl")), reason="no nginx or openssl"),
]
PREDICT = f"/v1/models/{COLOUR}/predict"


@pytest.fixture(scope="module")
def server(tiny_models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root)}
    with serving(tmp_path_factory.mktemp("bentoml"), environ=environ) as there:
        wait_until(there, "/readyz", 200)
        yield there


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """In front of the server, and of a second one that is not there."""
    with nginx(tmp_path_factory.mktemp("nginx"), [server.url, "http://127.0.0.1:9"]) as there:
        yield there


@pytest.fixture
def caller(proxy: Proxy) -> Iterator[httpx.Client]:
    trusting = ssl.create_default_context(cafile=str(proxy.certificate))
    with httpx.Client(base_url=proxy.url, verify=trusting, trust_env=False, timeout=30) as client:
        yield client


@pytest.mark.parametrize("prefix", ["", "/sightline"])
def test_answers_are_the_servers_own(caller: httpx.Client, server: Server, prefix: str) -> None:
    picture = jpeg()
    direct = httpx.post(server.url + PREDICT, content=picture)
    assert caller.post(prefix + PREDICT, content=picture).json() == direct.json()


def test_a_server_that_is_gone_costs_no_request(caller: httpx.Client) -> None:
    assert {caller.post(PREDICT, content=jpeg()).status_code for _ in range(20)} == {200}


@pytest.mark.parametrize("prefix", ["", "/sightline"])
def test_the_page_finds_its_parts_below_a_path(caller: httpx.Client, prefix: str) -> None:
    page = caller.get(f"{prefix}/")
    assert page.status_code == 200
    assert 'src="web/page.js"' in page.text  # relative, so a browser asks below the same path
    assert caller.get(f"{prefix}/web/page.js").status_code == 200


def test_the_path_without_its_slash_leads_to_the_page(caller: httpx.Client) -> None:
    answer = caller.get("/sightline")
    assert (answer.status_code, answer.headers["location"].endswith("/sightline/")) == (308, True)


def test_plain_http_is_sent_on_to_tls(proxy: Proxy) -> None:
    answer = httpx.get(f"{proxy.plain_url}/v1/models?x=1", trust_env=False)
    assert answer.status_code == 308
    assert answer.headers["location"] == f"{proxy.url}/v1/models?x=1"


def test_a_body_that_is_too_large_is_refused_in_the_servers_words(caller: httpx.Client) -> None:
    answer = caller.post(PREDICT, content=b"x" * 10_000_001)
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_a_body_that_is_far_too_large_does_not_reach_the_server(caller: httpx.Client) -> None:
    answer = caller.post(PREDICT, content=b"x" * 12_000_000)
    assert answer.status_code == 413
    assert "nginx" in answer.text


@pytest.mark.parametrize("path", ["/metrics", "/sightline/metrics"])
def test_metrics_are_for_prometheus_alone(caller: httpx.Client, path: str) -> None:
    assert caller.get(path).status_code == 404


def test_a_callers_request_id_comes_back(caller: httpx.Client) -> None:
    answer = caller.post(PREDICT, content=jpeg(), headers={"X-Request-ID": "abc-123"})
    assert answer.headers["x-request-id"] == "abc-123"


class Stub(ThreadingHTTPServer):
    """A server that is as ready as a test says, and answers with its own port."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StubAnswers)
        self.status = 200
        threading.Thread(target=self.serve_forever, daemon=True).start()


class StubAnswers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Stub)
        self.send_response(self.server.status if self.path == "/readyz" else 200)
        self.end_headers()
        self.wfile.write(str(self.server.server_port).encode())

    def log_message(self, *_: object) -> None: ...


def test_nginx_asks_those_whose_readyz_is_200_and_everybody_where_nobody_is_ready(tmp_path: Path) -> None:
    one, two = Stub(), Stub()
    both = {str(one.server_port), str(two.server_port)}
    urls = [f"http://127.0.0.1:{stub.server_port}" for stub in (one, two)]
    with nginx_that_follows_readiness(tmp_path / "nginx", urls) as proxy:
        trusting = ssl.create_default_context(cafile=str(proxy.certificate))

        def answering() -> set[str]:
            return {httpx.get(f"{proxy.url}/", verify=trusting, trust_env=False).text for _ in range(8)}

        for statuses, expected in [((200, 200), both), ((503, 200), {str(two.server_port)}), ((503, 503), both)]:
            one.status, two.status = statuses
            until = time.monotonic() + 30
            while answering() != expected and time.monotonic() < until:
                time.sleep(0.2)
            assert answering() == expected
    for stub in (one, two):
        stub.shutdown()
        stub.server_close()
