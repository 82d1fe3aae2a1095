"""The distribution sightline-client: built from its folder, installed with httpx alone, and asked to classify."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.client.version import VERSION
from tests.e2e.servers import ROOT, Server
from tests.pictures import noise, png
from tests.tiny_models import COLOUR

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PACKAGES = ("anyio", "certifi", "h11", "httpcore", "httpx", "idna", "sniffio", "typing_extensions")  # httpx and its own


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the folder of the client alone gives."""
    folder, out = tmp_path_factory.mktemp("source") / "client", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "service" / "client", folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(folder)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs lie of an environment that holds the wheel, httpx in our version, and nothing else."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(home)], check=True, capture_output=True, timeout=120)
    only = home.parent / "httpx.txt"
    only.write_text(locked("httpx"), encoding="utf-8")
    install = [*uv, "pip", "install", "--system-certs", "--python", str(home / "bin" / "python")]
    subprocess.run([*install, str(wheel), "--constraint", str(only)], check=True, capture_output=True, timeout=120)
    return home / "bin"


def locked(name: str) -> str:
    """`name==version` as the lock file has it."""
    lines = (ROOT / "requirements" / "serve.txt").read_text(encoding="utf-8").splitlines()
    return next(line.split()[0] for line in lines if line.startswith(f"{name}=="))


def test_the_wheel_holds_the_client_and_the_one_version(wheel: Path) -> None:
    assert wheel.name == f"sightline_client-{VERSION}-py3-none-any.whl"


def test_it_brings_httpx_and_nothing_of_the_server(programs: Path) -> None:
    listed = subprocess.run(
        [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "list",
            "--quiet",
            "--format",
            "json",
            "--python",
            str(programs / "python"),
        ],
        check=True,
        capture_output=True,
    )
    names = {package["name"].replace("-", "_") for package in json.loads(listed.stdout)}
    assert {"sightline_client", "httpx"} <= names <= {"sightline_client", *PACKAGES}


@pytest.mark.parametrize("command", [("sightline-client",), ("python", "-m", "sightline_client")], ids=" ".join)
def test_an_image_is_classified_from_an_empty_environment(
    command: tuple[str, ...], programs: Path, server: Server, tmp_path: Path
) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(png(noise(8, 8)))
    words = [str(programs / command[0]), *command[1:], server.url, COLOUR, str(image), "--json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    (answer,) = json.loads(done.stdout)
    assert (answer["model"], answer["version"]) == (COLOUR, 2)
    assert sum(each["probability"] for each in answer["predictions"]) == pytest.approx(1, abs=1e-3)


def test_python_asks_from_an_empty_environment(programs: Path, server: Server, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(png(noise(8, 8)))
    code = (
        "import sys; from sightline_client import Client\n"
        "with Client(sys.argv[1]) as client: print(client.predict(sys.argv[2], 'image.png').version)"
    )
    words = [str(programs / "python"), "-c", code, server.url, COLOUR]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("2\n", "")
