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
from tests.e2e.clients import browsers
from tests.e2e.servers import Server
from tests.service.pictures import jpeg

pytestmark = pytest.mark.e2e

in_chromium = browsers.MARKS[1]
sync_api = browsers.sync_api
WANTS_A_KEY = ("reload",)  # an admin's


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with browsers.launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def document(server: Server) -> Any:
    return httpx.get(f"{server.url}/openapi.json").json()


def samples(document: Any, server: Server, language: str) -> dict[str, str]:
    """The samples in a language by the name of their operation, for this server."""
    return {
        operation["operationId"]: sample["source"].replace(BASE, server.url)
        for operations in document["paths"].values()
        for operation in operations.values()
        for sample in operation["x-codeSamples"]
        if sample["label"] == language and operation["operationId"] not in WANTS_A_KEY
    }


@in_chromium
@pytest.mark.parametrize(
    ("shape", "scheme"), [(browsers.DESKTOP, "light"), (browsers.PHONE, "dark")], ids=["desktop", "phone"]
)
def test_the_page_shows_every_route_and_a_picture_is_tried_on_it(
    browser: sync_api.Browser, server: Server, document: Any, shape: dict[str, Any], scheme: str
) -> None:
    with browsers.opened(browser, f"{server.url}/", **shape, color_scheme=scheme) as page:
        page.goto(f"{server.url}/docs#post-/v1/models/-model-/predict")
        sync_api.expect(page.get_by_role("heading", name="Classify one image", exact=True)).to_be_visible()
        if shape is browsers.DESKTOP:
            paths = {text.split()[-1] for text in page.locator(".nav-bar-path").all_inner_texts()}
            assert paths == set(document["paths"])
        picture = {"name": "cup.jpg", "mimeType": "image/jpeg", "buffer": jpeg()}
        page.locator("input[type=file]").first.set_input_files(picture)
        page.get_by_role("button", name="TRY").click()
        sync_api.expect(page.locator("api-request").first).to_contain_text("probability")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browsers.take_picture(page, f"docs-{scheme}")


@in_chromium
def test_the_page_asks_for_the_key_of_a_server_that_has_keys_and_tries_with_it(
    browser: sync_api.Browser, server: Server
) -> None:
    shown: list[str | None] = []

    def with_key(route: sync_api.Route) -> None:
        shown.append(route.request.headers.get("authorization"))
        if shown[-1] == "Bearer right":
            route.continue_()
        else:
            route.fulfill(status=401, json={"code": "unauthorized"})

    with browsers.opened(browser, f"{server.url}/") as page:
        page.route("**/openapi.json", with_key)
        page.route("**/predict", with_key)
        page.goto(f"{server.url}/docs#post-/v1/models/-model-/predict")
        for key in ("wrong", "right"):
            page.get_by_label("This server wants an API key").fill(key)
            page.get_by_role("button", name="Show the API").click()
            if key == "wrong":
                sync_api.expect(page.get_by_role("alert")).to_have_text("The server does not know this key.")
        picture = {"name": "cup.jpg", "mimeType": "image/jpeg", "buffer": jpeg()}
        page.locator("input[type=file]").first.set_input_files(picture)
        page.get_by_role("button", name="TRY").click()
        sync_api.expect(page.locator("api-request").first).to_contain_text("probability")
    assert shown == [None, "Bearer wrong", "Bearer right", "Bearer right"]


@in_chromium
def test_the_samples_of_javascript_are_answered(browser: sync_api.Browser, server: Server, document: Any) -> None:
    with browsers.opened(browser, f"{server.url}/") as page:
        page.wait_for_load_state("networkidle")  # else a script of the page would miss its elements
        page.set_content('<input type="file" multiple>')
        page.locator("input").set_input_files({"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": jpeg()})
        for name, source in samples(document, server, "JavaScript").items():
            check = source.replace("console.log(", "if (!answer.ok) throw new Error(answer.status);\nreturn (")
            assert page.evaluate(f"async () => {{ {check} }}") is not None, name


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_samples_of_curl_are_answered(server: Server, document: Any, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(jpeg())
    script = "\n".join(samples(document, server, "curl").values()).replace("curl ", "curl --fail -sS ")
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=tmp_path, check=True, timeout=60)


def test_the_samples_of_python_are_answered(server: Server, document: Any, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(jpeg())
    checked = [f"{code}\nanswer.raise_for_status()" for code in samples(document, server, "Python").values()]
    environ = os.environ | {"NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-W", "error", "-c", "\n".join(checked)]
    subprocess.run(command, cwd=tmp_path, env=environ, check=True, timeout=60, stdout=subprocess.DEVNULL)
