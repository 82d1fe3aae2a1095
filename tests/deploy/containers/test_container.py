"""Both images, built by a real container engine, run as an operator who trusts nobody would run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.settings import Settings
from tests.deploy.containers import engine as engines
from tests.deploy.containers import images
from tests.deploy.containers.answers import MODELS, PICTURES, answers
from tests.deploy.containers.engine import Container, Engine
from tests.deploy.containers.images import OURS, STOCK
from tests.deploy.containers.load import Caller
from tests.deploy.traces import STRACE, asked, portable_strace
from tests.e2e.bentos import Bento
from tests.e2e.servers import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]  # two images are built first

PREDICT = "/v1/models/cifar-10/predict"
MOST_BYTES, MOST_MEMORY_BYTES = 500_000_000, 350_000_000
NOTICE_S = Settings().shutdown_notice_ms / 1000


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    try:
        with engines.engine(tmp_path_factory.mktemp("docker")) as there:
            engines.make_base(there)
            yield there
    except engines.NoEngine as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def ours(engine: Engine, bento: Bento) -> str:
    images.make_ours(engine, bento)
    return OURS


@pytest.fixture(scope="module")
def stock(engine: Engine, bento: Bento) -> str:
    images.make_stock(engine, bento)
    return STOCK


@pytest.fixture(scope="module")
def container(
    engine: Engine, ours: str, record_testsuite_property: Callable[[str, object], None]
) -> Iterator[Container]:
    """Ours under a user id that the image has never heard of."""
    with engines.serving(engine, ours, "ours", "--user", "12345:0") as there:
        record_testsuite_property("ready_after_s", round(there.wait_until_ready(), 1))
        yield there


def test_our_image_answers_as_the_checkout_does(container: Container, expected: dict[str, list[object]]) -> None:
    assert answers(container.url) == expected


def test_the_stock_image_answers_as_the_checkout_does(
    engine: Engine, stock: str, expected: dict[str, list[object]]
) -> None:
    with engines.serving(engine, stock, "stock", "--user", "12345:12345") as there:
        there.wait_until_ready()
        assert answers(there.url) == expected
        assert _stopped(there) == 0


def test_the_commands_work_inside(container: Container) -> None:
    listed = container.engine.docker("exec", container.name, "sightline", "list")
    assert [model for model in MODELS if model not in listed] == []


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


def test_our_image_holds_a_compiled_file_of_each_module_that_a_server_imports(container: Container) -> None:
    program = """
        import os, sys
        import _bentoml_impl.worker.service, classifier.commands.cli, openvino, service.app, uvicorn
        from service.commands import serve
        named = [module.__spec__.cached for module in sys.modules.values() if getattr(module, "__spec__", None)]
        print(len(named), [path for path in named if path and not os.path.exists(path)])
    """
    said = container.engine.docker("exec", container.name, "python", "-c", textwrap.dedent(program))
    count, missing = said.strip().split(" ", 1)
    assert missing == "[]"
    assert int(count) > 500


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
    """Of all its processes, as the engine counts it, which Kubernetes calls the working set."""
    assert answers(container.url) == expected
    used = container.memory_bytes()
    record_testsuite_property("memory_bytes", used)
    assert not container.state["OOMKilled"]
    assert used <= MOST_MEMORY_BYTES


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.parametrize("kind", ["ours", "stock"])
def test_an_image_looks_nobody_up_from_its_start_to_its_end(
    kind: str, engine: Engine, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    image = request.getfixturevalue(kind)
    tmp_path.chmod(0o777)
    tracing, *words = portable_strace(tmp_path)
    words += [*STRACE, "--output", "/traced/trace", *engine.inspect(image)["Config"]["Entrypoint"]]
    options = ["--user", "12345:0", "--volume", f"{tmp_path}:/traced", "--entrypoint", tracing]
    options += ["--env", "SIGHTLINE_SHUTDOWN_NOTICE_MS=0"]
    with engines.serving(engine, image, f"traced-{kind}", *options, words=words) as there:
        there.wait_until_ready()
        assert httpx.post(there.url + PREDICT, content=PICTURES[0], timeout=60).status_code == 200
        os.kill(there.process_ids()[1], signal.SIGTERM)  # what strace started; strace ends with it
        engine.docker("wait", there.name, timeout_s=60)
    assert asked(tmp_path / "trace") == []


def test_stopping_under_load_loses_no_request(engine: Engine, ours: str) -> None:
    """Lost is what was sent while the server was there for everybody, and got no whole answer."""
    with engines.serving(engine, ours, "stopped", "--user", "12345:0") as there:
        there.wait_until_ready()
        callers = [Caller(there.url, PREDICT, PICTURES[0]) for _ in range(8)]
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


def _stopped(there: Container) -> int:
    """Its exit status after SIGTERM."""
    there.engine.docker("stop", "--time", "40", there.name, timeout_s=60)
    code: int = there.state["ExitCode"]
    return code


def test_a_killed_server_is_restarted_by_policy(engine: Engine, ours: str) -> None:
    with engines.serving(engine, ours, "killed", "--user", "12345:0", "--restart", "always") as there:
        there.wait_until_ready()
        (server,) = there.process_ids()  # nobody watches it but the engine
        os.kill(server, signal.SIGKILL)
        until = time.monotonic() + 60
        while not engine.inspect(there.name)["RestartCount"] and time.monotonic() < until:
            time.sleep(0.2)
        assert engine.inspect(there.name)["RestartCount"] == 1
        there.wait_until_ready()


def test_the_tutorials_container_answers_to_who_has_the_key(engine: Engine, ours: str, tmp_path: Path) -> None:
    key = "key-of-the-tutorial"
    (tmp_path / "api-keys").write_text(key)
    (tmp_path / "api-keys").chmod(0o600)
    shown = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^docker run (.*?)\n```", shown.replace("\\\n", ""), flags=re.DOTALL | re.MULTILINE)
    said = line.replace("$PWD", str(tmp_path)).replace("$(id -u)", str(os.getuid()))
    options = [
        part for name, value in re.findall(r'--(user|volume|env) "?([^"\s]+)', said) for part in (f"--{name}", value)
    ]
    assert [option for option in options if option.startswith("--")] == ["--user", "--volume", "--env"]
    anonymous = ("--env", "SIGHTLINE_ALLOW_ANONYMOUS=false")  # the other tests' containers let everybody in
    with engines.serving(engine, ours, "tutorial", *anonymous, *options) as there:
        there.wait_until_ready()
        assert httpx.get(f"{there.url}/").status_code == 200
        assert httpx.get(f"{there.url}/v1/models").status_code == 401
        assert httpx.get(f"{there.url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_how_long_starts_take_is_kept_of_the_checkout_and_of_a_container(
    engine: Engine, ours: str, tmp_path: Path
) -> None:
    out = tmp_path / "starts.json"
    words = ("--times", "1", "--ways", "alone", "--image", ours, "--out", str(out))
    environ = {"DOCKER": engines.DOCKER, "PYTHONPATH": str(ROOT)}
    engine.run(sys.executable, "-m", "load_tests.starts", *words, timeout_s=300, environ=environ)
    found = json.loads(out.read_text())
    assert [one["way"] for one in found["starts"]] == ["alone", "container"]
    for one in found["starts"]:
        assert min(one["wall_s"], one["cpu_s"], one["pss_mb"]) > 0
    assert found["starts"][1]["working_set_mb"] > 100
    assert found["medians"].keys() == {"alone", "container"}


def test_the_same_inputs_give_the_same_layers(engine: Engine, bento: Bento, ours: str) -> None:
    images.make_ours(engine, bento, "sightline:again", "--no-cache")
    assert engine.inspect("sightline:again")["RootFS"] == engine.inspect(ours)["RootFS"]
