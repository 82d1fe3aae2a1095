"""Both images, built by a real container engine, run as an operator who trusts nobody would run them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest

from service.settings import Settings
from tests.deploy import engine as engines
from tests.deploy.engine import Container, Engine
from tests.e2e.bentos import BENTOML, Bento, shipped
from tests.e2e.servers import ROOT, wait_until
from tests.e2e.servers import serving as serving_checkout
from tests.pictures import encoded, jpeg, noise

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]  # two images are built first

OURS, STOCK = "sightline:ours", "sightline:stock"
MODELS = ("cats-vs-dogs", "cifar-10", "asl")
MOST_BYTES = 500_000_000
NOTICE_S = Settings().shutdown_notice_ms / 1000
PICTURES = [(ROOT / "docs" / "chelsea.jpg").read_bytes(), *(jpeg(noise(120, 160, seed=n)) for n in range(12))]
PICTURES += [encoded(noise(28, 28, seed=n)) for n in range(7)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    try:
        with engines.engine(tmp_path_factory.mktemp("docker")) as there:
            engines.make_base(there)
            yield there
    except engines.NoEngine as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Bento:
    return shipped(tmp_path_factory)


@pytest.fixture(scope="module")
def ours(engine: Engine, bento: Bento) -> str:
    _build_ours(engine, bento, OURS)
    return OURS


def _build_ours(engine: Engine, bento: Bento, image: str, *options: str) -> None:
    script = str(ROOT / "deploy" / "build.sh")
    environ = bento.environ | {"DOCKER": engines.DOCKER, "SOURCE_DATE_EPOCH": "1700000000"}
    engine.run(script, bento.tag, image, "--network", "host", *options, timeout_s=900, environ=environ)


@pytest.fixture(scope="module")
def stock(engine: Engine, bento: Bento) -> str:
    command = [str(BENTOML), "containerize", bento.tag, "--opt", "network=host", "-t", STOCK]
    engine.run(*command, timeout_s=900, environ=bento.environ)
    return STOCK


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """What a server of the checkout says of every picture."""
    with serving_checkout(tmp_path_factory.mktemp("checkout")) as server:
        wait_until(server, "/readyz", 200, timeout_s=300)
        return _answers(server.url)


def _answers(url: str) -> dict[str, list[object]]:
    with httpx.Client(base_url=url, timeout=60) as client:
        return {
            model: [client.post(f"/v1/models/{model}/predict", content=picture).json() for picture in PICTURES]
            for model in MODELS
        }


@pytest.fixture(scope="module")
def container(
    engine: Engine, ours: str, record_testsuite_property: Callable[[str, object], None]
) -> Iterator[Container]:
    """Ours under a user id that the image has never heard of."""
    with engines.serving(engine, ours, "ours", "--user", "12345:0") as there:
        record_testsuite_property("ready_after_s", round(there.wait_until_ready(), 1))
        yield there


def test_our_image_answers_as_the_checkout_does(container: Container, expected: dict[str, list[object]]) -> None:
    assert _answers(container.url) == expected


def test_the_stock_image_answers_as_the_checkout_does(
    engine: Engine, stock: str, expected: dict[str, list[object]]
) -> None:
    with engines.serving(engine, stock, "stock", "--user", "12345:12345") as there:
        there.wait_until_ready()
        assert _answers(there.url) == expected
        assert _stopped(there) == 0


def test_our_image_is_small(
    engine: Engine, ours: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    size, base = engine.inspect(ours)["Size"], engine.inspect(engines.BASE)["Size"]
    record_testsuite_property("image_bytes", size)
    record_testsuite_property("base_bytes", base)
    assert size <= MOST_BYTES, f"{base} of them are the base's"


def test_our_image_holds_a_shell_but_no_compiler_and_nothing_that_its_user_may_change(container: Container) -> None:
    script = """
        for program in gcc cc g++ c++ ld make git; do command -v $program; done
        find /opt/sightline /app -writable ! -type l
        id -u
    """
    assert container.engine.docker("exec", container.name, "sh", "-c", script).split() == ["12345"]


def test_our_image_says_what_it_is(engine: Engine, ours: str) -> None:
    labels = engine.inspect(ours)["Config"]["Labels"]
    cards = [json.loads(path.read_text()) for path in sorted((ROOT / "models").glob("*/*/card.json"))]
    models = json.loads(labels["sightline.models"])
    assert [(entry["model"], entry["version"]) for entry in models] == [(c["name"], c["version"]) for c in cards]
    assert [entry["accuracy"] for entry in models] == [round(c["metrics"]["test"]["accuracy"], 4) for c in cards]
    assert re.fullmatch(r"[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.version"]


def test_the_bill_of_materials_lists_what_is_installed(container: Container) -> None:
    bill = json.loads(container.engine.docker("exec", container.name, "cat", "/opt/sightline/share/sbom.cdx.json"))
    listed = {component["name"].lower(): component["version"] for component in bill["components"]}
    lock = (ROOT / "requirements" / "serve.txt").read_text()
    locked = dict(re.findall(r"^([a-z0-9_.-]+)==([^ ;]+)", lock, re.MULTILINE))
    assert bill["bomFormat"] == "CycloneDX"
    some = ("bentoml", "openvino", "pillow", "starlette", "uvloop")
    assert {name: listed.get(name) for name in some} == {name: locked[name] for name in some}


def test_the_health_check_turns_healthy(container: Container) -> None:
    until = time.monotonic() + 60
    while (health := container.state["Health"])["Status"] != "healthy" and time.monotonic() < until:
        time.sleep(0.5)
    assert health["Status"] == "healthy", health


def test_it_stays_within_its_memory(
    container: Container, expected: dict[str, list[object]], record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Limited to 512 MB, and not by swapping: the engine would have ended it."""
    assert _answers(container.url) == expected
    used = container.engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container.name)
    record_testsuite_property("memory", used.strip())
    assert not container.state["OOMKilled"]


def test_stopping_under_load_loses_no_request(engine: Engine, ours: str) -> None:
    """Lost is what was sent while the server was there for everybody, and got no whole answer."""
    with engines.serving(engine, ours, "stopped", "--user", "12345:0") as there:
        there.wait_until_ready()
        callers = [Caller(there.url) for _ in range(8)]
        for caller in callers:
            caller.start()
        time.sleep(2)
        stopped_at = time.monotonic()
        assert _stopped(there) == 0
        for caller in callers:
            caller.join(60)
        statuses = Counter(status for caller in callers for status in caller.statuses)
        assert statuses[200] > 8
        assert set(statuses) <= {200, 503}
        assert [caller.ended for caller in callers if caller.last_sent_at < stopped_at + NOTICE_S] == []


class Caller(threading.Thread):
    """Asks again and again, each time on a connection of its own, until it gets no answer."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._address = url.removeprefix("http://")
        self.statuses: list[int] = []
        self.last_sent_at = 0.0
        self.ended = ""

    def run(self) -> None:
        while not self.ended:
            try:
                with contextlib.closing(http.client.HTTPConnection(self._address, timeout=60)) as connection:
                    self.last_sent_at = time.monotonic()
                    connection.request("POST", "/v1/models/cifar-10/predict", PICTURES[0])
                    self.statuses.append(connection.getresponse().status)
            except OSError as error:  # RemoteDisconnected is one too
                self.ended = repr(error)


def _stopped(there: Container) -> int:
    """Its exit status after SIGTERM."""
    there.engine.docker("stop", "--time", "40", there.name, timeout_s=60)
    code: int = there.state["ExitCode"]
    return code


def test_a_killed_server_is_restarted_by_policy(engine: Engine, ours: str) -> None:
    with engines.serving(engine, ours, "killed", "--user", "12345:0", "--restart", "always") as there:
        there.wait_until_ready()
        for pid in there.process_ids()[1:]:  # the server; the first process only watches it
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 60
        while not engine.inspect(there.name)["RestartCount"] and time.monotonic() < until:
            time.sleep(0.2)
        assert engine.inspect(there.name)["RestartCount"] == 1
        there.wait_until_ready()


def test_the_same_inputs_give_the_same_layers(engine: Engine, bento: Bento, ours: str) -> None:
    _build_ours(engine, bento, "sightline:again", "--no-cache")
    assert engine.inspect("sightline:again")["RootFS"] == engine.inspect(ours)["RootFS"]
