"""`/docs` in a real Chromium, and the samples that it shows, against a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.openapi.samples import BASE
from tests.e2e.servers import ROOT, Server
from tests.service.pictures import jpeg

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
pytestmark = pytest.mark.e2e

SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WANTS_A_KEY = ("reload",)  # an admin's


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def document(server: Server) -> Any:
    return httpx.get(f"{server.url}/openapi.json").json()


@pytest.fixture
def faults() -> list[str]:
    """What the browser complained of, the content security policy's reports included, and foreign requests."""
    return []


def samples(document: Any, server: Server, language: str) -> dict[str, str]:
    """The samples in a language by the name of their operation, for this server."""
    return {
        operation["operationId"]: sample["source"].replace(BASE, server.url)
        for operations in document["paths"].values()
        for operation in operations.values()
        for sample in operation["x-codeSamples"]
        if sample["label"] == language and operation["operationId"] not in WANTS_A_KEY
    }


def opened(browser: sync_api.Browser, url: str, faults: list[str], **options: Any) -> sync_api.Page:
    page = browser.new_context(**options).new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    local = (url.split("/docs")[0], "blob:", "data:")
    page.on("request", lambda asked: None if asked.url.startswith(local) else faults.append(asked.url))
    page.goto(url)
    return page


@in_chromium
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_shows_every_route_and_a_picture_is_tried_on_it(
    browser: sync_api.Browser, server: Server, faults: list[str], document: Any, width: int, scheme: str
):
    options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    page = opened(browser, f"{server.url}/docs#post-/v1/models/-model-/predict", faults, **options)
    sync_api.expect(page.get_by_role("heading", name="Classify one image", exact=True)).to_be_visible()
    if width > 1000:
        paths = {text.split()[-1] for text in page.locator(".nav-bar-path").all_inner_texts()}
        assert paths == set(document["paths"])
    picture = {"name": "cup.jpg", "mimeType": "image/jpeg", "buffer": jpeg()}
    page.locator("input[type=file]").first.set_input_files(picture)
    page.get_by_role("button", name="TRY").click()
    sync_api.expect(page.locator(".request-panel, api-request").first).to_contain_text("probability")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"docs-{width}-{scheme}.png")
    assert faults == []
    page.context.close()


@in_chromium
def test_the_samples_of_javascript_are_answered(
    browser: sync_api.Browser, server: Server, faults: list[str], document: Any
):
    page = opened(browser, f"{server.url}/docs", faults)
    page.set_content('<input type="file" multiple>')
    page.locator("input").set_input_files({"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": jpeg()})
    for name, source in samples(document, server, "JavaScript").items():
        check = source.replace("console.log(", "if (!answer.ok) throw new Error(answer.status);\nreturn (")
        said = page.evaluate(f"async () => {{ {check} }}")
        assert said is not None, name
    page.context.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_samples_of_curl_are_answered(server: Server, document: Any, tmp_path: Path):
    (tmp_path / "cat.jpg").write_bytes(jpeg())
    script = "\n".join(samples(document, server, "curl").values()).replace("curl ", "curl --fail -sS ")
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=tmp_path, check=True, timeout=60)


def test_the_samples_of_python_are_answered(server: Server, document: Any, tmp_path: Path):
    (tmp_path / "cat.jpg").write_bytes(jpeg())
    checked = [f"{code}\nanswer.raise_for_status()" for code in samples(document, server, "Python").values()]
    environ = os.environ | {"NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-W", "error", "-c", "\n".join(checked)]
    subprocess.run(command, cwd=tmp_path, env=environ, check=True, timeout=60, stdout=subprocess.DEVNULL)
