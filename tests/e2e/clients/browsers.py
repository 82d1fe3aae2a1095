"""A real Chromium for tests of what browsers see, and what a person does with it."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.servers import ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
sync_api.expect.set_options(timeout=15_000)  # ms; a busy machine draws late

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MARKS = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"),
]
SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

_TRANSFER = """([kind, name, content]) => {
    const transfer = new DataTransfer();
    if (name) transfer.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
    else transfer.setData("text/plain", content);
    const init = { clipboardData: transfer, dataTransfer: transfer, bubbles: true };
    document.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, init) : new DragEvent(kind, init));
}"""


@contextmanager
def launched() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: sync_api.Browser, url: str, expected: Callable[[str], bool] = lambda _: False, **options: object
) -> Iterator[sync_api.Page]:
    """The page, in English unless `options` say otherwise. At the end nothing may have been complained of: no error, no
    report of the content security policy, no request to anybody else. `expected` says which complaints are part of it.
    """
    faults: list[str] = []
    context = browser.new_context(**{"locale": "en-US", "permissions": ["camera"], **DESKTOP, **options})
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    local = (url, "blob:", "data:")
    page.on("request", lambda asked: None if asked.url.startswith(local) else faults.append(asked.url))
    page.goto(url)
    yield page
    context.close()
    assert [fault for fault in faults if not (expected(fault) or fault.startswith("Failed to load resource"))] == []


def choose(page: sync_api.Page, *files: tuple[str, bytes]) -> None:
    payload = [{"name": name, "mimeType": "image/jpeg", "buffer": body} for name, body in files]
    page.locator("#files").set_input_files(payload)


def give(page: sync_api.Page, kind: str, name: str, content: bytes | str) -> None:
    """Paste or drop a file, or text where it has no name."""
    page.evaluate(_TRANSFER, [kind, name, content if isinstance(content, str) else base64.b64encode(content).decode()])


def until(page: sync_api.Page, condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for what the test itself sees; Playwright calls its listeners and routes only while it is waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        page.wait_for_timeout(20)


def check_accessible(page: sync_api.Page) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert not found, [(fault["id"], [node["target"] for node in fault["nodes"]]) for fault in found]


def take_picture(page: sync_api.Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, animations="disabled")
