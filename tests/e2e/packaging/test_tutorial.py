"""docs/tutorial.md, step by step: photos, a check, a fit, a server by https with a key, a phone's browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from classifier.commands.cli import main
from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.e2e.clients import browsers
from tests.e2e.servers import ROOT, Server, serving
from tests.training.tiny_backbone import on_tiny, optimizer
from training.recipes import FOR_ANY_IMAGES

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("openssl") or not shutil.which("curl"), reason="no openssl or no curl"),
]

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
SIGHTLINE = ".venv/bin/sightline "
DEPLOYING = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")


def step(number: int) -> list[str]:
    """The commands of a step, each on one line."""
    section = re.split(r"\n## \d\. ", TEXT)[number].split("\n## ")[0]
    blocks = "".join(re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL))
    return [line.split("  #")[0].strip() for line in re.sub(r"\\\n\s*", "", blocks).splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the reader is, after the third step. Photos are drawn, and a tiny backbone takes EfficientNet's place."""
    home = tmp_path_factory.mktemp("tutorial")
    for label in photo_folders(home / "my_photos").iterdir():
        for number, photo in enumerate(sorted(label.iterdir()), start=1):
            photo.rename(label / f"{number}.jpg")
    small = replace(on_tiny(), epochs=40, optimizer=optimizer)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(home)
        patched.delenv("SIGHTLINE_MODELS", raising=False)
        patched.setitem(FOR_ANY_IMAGES, small.name, small)
        for command in step(2) + step(3):
            if command.startswith(SIGHTLINE):
                assert main(shlex.split(command.removeprefix(SIGHTLINE))) == 0, command
        yield home


def test_the_photos_are_twenty_and_a_version_comes_of_them(folder: Path) -> None:
    assert len(list((folder / "my_photos").rglob("*.jpg"))) == 20
    assert ModelStore(folder / "models").card("my-photos").labels == ("cup", "plate")


@pytest.fixture(scope="module")
def secured(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of the fifth step, with the certificate and the key that its lines make."""
    *lines, serve, _ = step(5)
    script = "\n".join(lines)
    subprocess.run(["bash", "-e", "-c", script], cwd=folder, check=True, timeout=60, capture_output=True)
    assert (folder / "tls.key").stat().st_mode & 0o077 == 0
    variables = dict(re.findall(r"(SIGHTLINE_\w+)=\$PWD/(\S+)", serve))
    assert shlex.split(serve)[-4:] == ["--host", "0.0.0.0", "--port", "3443"]  # noqa: S104  (what the page says)
    environ = {name: str(folder / file) for name, file in variables.items()}
    environ |= {"SIGHTLINE_MODELS": str(folder / "models"), "SIGHTLINE_ENGINE": "openvino"}
    with serving(tmp_path_factory.mktemp("server"), environ=environ, host="0.0.0.0") as server:  # noqa: S104
        yield server


def test_the_phones_request_is_answered_by_https_to_who_has_the_key(folder: Path, secured: Server) -> None:
    *_, ask = step(5)
    port = secured.url.rpartition(":")[2]
    command = ask.replace("3443", port).replace(
        "curl ", "curl --fail -sS --retry 90 --retry-all-errors --retry-delay 1 "
    )
    environ = os.environ | {"NO_PROXY": "localhost"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environ, check=True, timeout=120, capture_output=True
    )
    answer = json.loads(done.stdout)
    assert answer["model"] == "my-photos"
    assert {prediction["label"] for prediction in answer["predictions"]} == {"cup", "plate"}
    without = re.sub(r'-H "Authorization[^"]*" ', "", ask.replace("3443", port)).replace("curl ", "curl -sS ")
    refused = subprocess.run(
        ["bash", "-c", without], cwd=folder, env=environ, check=True, timeout=60, capture_output=True
    )
    assert json.loads(refused.stdout)["code"] == "unauthorized"


@browsers.MARKS[1]
def test_the_phones_page_asks_for_the_key_and_tells_a_photo_of_a_cup(folder: Path, secured: Server) -> None:
    here = secured.url.replace("http:", "https:") + "/"
    wait_until_open(here)
    with (
        browsers.launched() as browser,
        browsers.opened(browser, here, **browsers.PHONE, ignore_https_errors=True) as page,
    ):
        page.locator("#key").fill((folder / "api-keys").read_text().strip())
        page.locator("#key-form button").click()
        page.locator("#model").select_option("my-photos")
        browsers.choose(page, ("new.jpg", (folder / "my_photos" / "cup" / "1.jpg").read_bytes()))
        browsers.sync_api.expect(page.locator(".result .bar").first).to_contain_text("cup")
        browsers.take_picture(page, "tutorial-phone")


def wait_until_open(url: str) -> None:
    """Raises AssertionError where the page does not come within a minute and a half."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, verify=False, timeout=5).status_code == 200:  # noqa: S501  (it is signed by itself)
                return
        time.sleep(0.2)
    raise AssertionError(f"{url} never answered")


def test_the_page_begins_with_its_title_and_has_six_steps_and_nothing_of_another_file() -> None:
    assert TEXT.startswith("# From twenty photos to a classifier on your phone\n")
    assert re.findall(r"^## (\d)\. ", TEXT, flags=re.MULTILINE) == ["1", "2", "3", "4", "5", "6"]
    assert not re.search(r"\\\\\n|write_text|localhost/\)", TEXT)


def test_the_container_is_run_as_the_tests_of_the_container_run_it() -> None:
    make, run = step(6)
    assert make == "make image"
    shown = re.sub(r"\s*\\\n\s*", " ", DEPLOYING)
    for option in re.findall(r"--(?!publish|user)[a-z-]+ (?:\"[^\"]*\"|[^-\s]\S*)|--detach|--read-only", run):
        assert option in shown, option
