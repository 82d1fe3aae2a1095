"""What five people want of a server with keys, done in a real Chromium; and a page of another origin beside them."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.clients.browsers import (
    MARKS,
    PHONE,
    check_accessible,
    choose,
    launched,
    opened,
    sync_api,
    take_picture,
)
from tests.e2e.servers import Server, serving, wait_until
from tests.service.pictures import TEXT, jpeg
from tests.tiny_models import COLOUR

pytestmark = MARKS
expect = sync_api.expect

KEY = "a-key-of-this-year"
SLOWLY = 50_000  # bytes a second


class Blank(http.server.BaseHTTPRequestHandler):
    """A page with nothing in it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The address of a page of another origin."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Blank) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def guarded(tiny_models_root: Path, tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[Server]:
    """A server with keys that the page elsewhere may ask."""
    environ = {"MODELS": str(tiny_models_root), "API_KEYS": KEY, "CORS_ORIGINS": f"http://{elsewhere}"}
    ours = {f"SIGHTLINE_{name}": value for name, value in environ.items()}
    with serving(tmp_path_factory.mktemp("guarded"), environ=ours) as server:
        wait_until(server, "/readyz", 200)
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with launched() as browser:
        yield browser


def give_key(page: sync_api.Page, key: str = KEY) -> None:
    expect(page.locator("#key")).to_be_focused()
    page.locator("#key").fill(key)
    page.locator("#key").press("Enter")


def photo() -> bytes:
    """Some megabytes, as phones make them."""
    out = io.BytesIO()
    Image.effect_noise((2400, 1800), 60).convert("RGB").save(out, "JPEG", quality=92)
    return out.getvalue()


def test_with_a_key_the_page_is_used_and_the_key_is_kept_until_the_tab_is_closed(
    browser: sync_api.Browser, guarded: Server
):
    with opened(browser, guarded.url) as page:
        expect(page.locator("#key-form")).to_contain_text("asks for a key")
        take_picture(page, "key-1280-light")
        check_accessible(page)
        give_key(page, "another-key-altogether")
        expect(page.locator("#key-fault")).to_have_text("The server does not know this key.")
        give_key(page)
        expect(page.locator("#state")).to_have_text("Ready")
        choose(page, ("cup.jpg", jpeg()))
        expect(page.locator(".result .bar").first).to_contain_text("%")
        page.get_by_role("button", name="What does it rest on?").click()
        expect(page.locator(".heat:visible")).to_have_count(1)
        expect(page.locator("#curl")).to_contain_text("$SIGHTLINE_KEY")
        assert KEY not in page.content()
        page.reload()
        expect(page.locator("#state")).to_have_text("Ready")
        page.get_by_role("button", name="Forget the key").click()
        expect(page.locator("#key-form")).to_be_visible()
        page.reload()
        expect(page.locator("#key-form")).to_be_visible()


def test_on_a_slow_line_a_large_photo_is_answered_soon_and_a_whole_one_shows_its_progress(
    browser: sync_api.Browser, guarded: Server
):
    large = photo()
    assert len(large) > 20 * SLOWLY
    with opened(browser, guarded.url) as page:
        give_key(page)
        expect(page.locator("#state")).to_have_text("Ready")
        line = {"offline": False, "latency": 100, "downloadThroughput": SLOWLY, "uploadThroughput": SLOWLY}
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)
        page.reload()
        expect(page.locator("#state")).to_have_text("Ready", timeout=15_000)
        choose(page, ("photo.jpg", large))
        expect(page.locator(".result[data-state=answered]")).to_have_count(1, timeout=15_000)
        page.get_by_label("Shrink large photos").uncheck()
        choose(page, ("whole.jpg", large))
        whole = page.locator(".result", has_text="whole.jpg")
        expect(whole.locator(".wait")).to_contain_text("Sending: ")
        page.locator("#cancel").click()
        expect(whole.locator(".problem")).to_have_text("Cancelled")


def test_on_a_phone_in_the_dark_a_sample_is_tapped_and_explained(browser: sync_api.Browser, guarded: Server):
    with opened(browser, guarded.url, color_scheme="dark", **PHONE) as page:
        take_picture(page, "key-390-dark")
        check_accessible(page)
        give_key(page)
        page.get_by_role("button", name="Stripes").tap()
        expect(page.locator(".result[data-state=answered]")).to_have_count(1)
        page.get_by_role("button", name="What does it rest on?").tap()
        expect(page.locator(".heat:visible")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        heights = page.locator("button:visible, select:visible, .pick:visible").evaluate_all(
            "all => all.map((one) => one.getBoundingClientRect().height)"
        )
        assert min(heights) >= 36  # a finger's


def focus(page: sync_api.Page, selector: str) -> None:
    """Reach an element by the Tab key alone."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the Tab key never reaches {selector}")


def test_the_keyboard_alone_reaches_and_works_everything(browser: sync_api.Browser, guarded: Server, tmp_path: Path):
    (tmp_path / "cup.jpg").write_bytes(jpeg())
    with opened(browser, guarded.url) as page:
        page.on("filechooser", lambda _: None)  # from now on there is no dialog of the browser's own
        expect(page.locator("#key")).to_be_focused()
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_have_text("Ready")
        focus(page, "#model")
        page.keyboard.press("ArrowDown")
        expect(page.locator("#model")).not_to_have_value(COLOUR)
        page.keyboard.press("ArrowUp")
        focus(page, "#files")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(tmp_path / "cup.jpg")
        expect(page.locator(".result[data-state=answered]")).to_have_count(1)
        for selector in ("#folder", "#camera"):
            focus(page, selector)
        focus(page, ".samples button")
        page.keyboard.press("Enter")
        expect(page.locator(".result[data-state=answered]")).to_have_count(2)
        focus(page, "#shrink")
        page.keyboard.press("Space")
        expect(page.locator("#shrink")).not_to_be_checked()
        focus(page, "#counts button:nth-child(2)")
        page.keyboard.press("Enter")
        expect(page.locator("#counts button:nth-child(2)")).to_be_focused()  # though it was drawn anew
        focus(page, ".why")
        page.keyboard.press("Enter")
        expect(page.locator(".heat:visible")).to_have_count(1)
        focus(page, "#copy")


def test_in_korean_everything_is_said_in_korean_with_numbers_as_written_there(
    browser: sync_api.Browser, guarded: Server
):
    with opened(browser, guarded.url, locale="ko-KR") as page:
        assert page.evaluate("document.documentElement.lang") == "ko"
        give_key(page)
        expect(page.locator("#state")).to_have_text("준비됨")
        choose(page, ("cup.jpg", jpeg()), ("notes.txt", TEXT))
        expect(page.locator(".result .problem:visible")).to_contain_text("텍스트입니다")
        expect(page.locator(".result .bar").first).to_contain_text("%")
        page.get_by_role("button", name="무엇을 보고 판단했나요?").click()
        expect(page.locator(".heat:visible")).to_have_count(1)
        take_picture(page, "korean-1280-light")
        shown = "[data-text]:not(code):not([hidden])"
        texts = page.locator(shown).evaluate_all(
            "all => all.filter((one) => one.checkVisibility()).map((one) => one.innerText)"
        )
        latin = [text for text in texts if text and not any("가" <= letter <= "힣" for letter in text)]
        assert set(latin) <= {"API"}


ASK = """async ([url, key, body, method]) => {
    const shown = key ? { Authorization: `Bearer ${key}`, "X-Request-ID": "mine" } : {};
    try {
        const answer = await fetch(url, { method, headers: shown, body: body && Uint8Array.from(body) });
        const readable = ["x-request-id", "server-timing", "x-error-code", "x-model-version", "date"];
        const headers = Object.fromEntries(readable.map((name) => [name, answer.headers.get(name)]));
        return [answer.status, headers, await answer.json()];
    } catch (error) {
        return [0, {}, String(error)];
    }
}"""


def test_a_page_of_an_allowed_origin_reads_answers_and_errors_and_no_other_page_does(
    browser: sync_api.Browser, guarded: Server, elsewhere: str
):
    def asked(page: sync_api.Page, path: str, key: str = KEY, body: bytes | None = None, method: str = "POST") -> Any:
        return page.evaluate(ASK, [guarded.url + path, key, list(body) if body else None, method])

    predict = f"/v1/models/{COLOUR}/predict"
    page = browser.new_page()
    page.goto(f"http://{elsewhere}/")
    status, headers, answer = asked(page, predict, body=jpeg())  # with a preflight, for the key's header
    assert (status, headers["x-request-id"], headers["x-model-version"]) == (200, "mine", "2")
    assert headers["server-timing"]
    assert headers["date"] is None  # not among those that may be read
    assert len(answer["predictions"]) == 3
    for path, key, body, method, expected in (
        (predict, "", jpeg(), "POST", (401, "unauthorized")),
        (predict, KEY, TEXT, "POST", (415, "not-an-image")),
        (f"{predict}?top_k=x", KEY, jpeg(), "POST", (400, "malformed-request")),
        (predict, KEY, None, "DELETE", (405, "method-not-allowed")),
        ("/nothing", KEY, None, "GET", (404, "no-such-path")),
    ):
        status, headers, answer = asked(page, path, key, body, method)
        assert (status, answer["code"], headers["x-error-code"]) == (*expected, expected[1])
    page.goto(f"http://{elsewhere.replace('127.0.0.1', 'localhost')}/")  # another origin
    assert asked(page, predict, body=jpeg())[0] == 0
    page.close()


def test_a_server_that_was_stopped_and_started_again_answers_what_was_asked_meanwhile(
    browser: sync_api.Browser, guarded: Server, tiny_models_root: Path, tmp_path: Path
):
    """The last of this file, since it stops the server of the others."""
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "SIGHTLINE_API_KEYS": KEY}
    with opened(browser, guarded.url) as page:
        give_key(page)
        expect(page.locator("#state")).to_have_text("Ready")
        guarded.stop()
        choose(page, ("cup.jpg", jpeg()))
        expect(page.locator("#state")).to_contain_text("cannot be reached")
        with serving(tmp_path, environ=environ, port=int(guarded.url.rpartition(":")[2])):
            expect(page.locator(".result[data-state=answered]")).to_have_count(1, timeout=60_000)
            expect(page.locator("#state")).to_have_text("Ready")
