"""The page in a real Chromium, against a real server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.servers import ROOT, Server
from tests.service.pictures import TEXT, jpeg
from tests.tiny_models import COLOUR, GREY

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
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
PASTE = """async ([base64]) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const clipboard = new DataTransfer();
    clipboard.items.add(new File([bytes], "", { type: "image/jpeg" }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: clipboard, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def faults() -> list[str]:
    """What the browser complained of, the content security policy's reports included, and foreign requests."""
    return []


@pytest.fixture
def page(browser: sync_api.Browser, server: Server, faults: list[str]) -> Iterator[sync_api.Page]:
    yield from opened(browser, server, faults)


def opened(browser: sync_api.Browser, server: Server, faults: list[str], **options: object) -> Iterator[sync_api.Page]:
    context = browser.new_context(permissions=["camera"], **options)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    local = (server.url, "blob:", "data:")
    page.on("request", lambda asked: None if asked.url.startswith(local) else faults.append(asked.url))
    page.goto(server.url)
    sync_api.expect(page.locator("#state")).to_have_text("Ready")
    yield page
    context.close()


def upload(page: sync_api.Page, *files: tuple[str, bytes]) -> None:
    payload = [{"name": name, "mimeType": "image/jpeg", "buffer": body} for name, body in files]
    page.locator("#files").set_input_files(payload)


def check_accessible(page: sync_api.Page) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert not found, [(fault["id"], [node["target"] for node in fault["nodes"]]) for fault in found]


def test_an_uploaded_picture_is_answered_with_labels_and_percentages(page: sync_api.Page, faults: list[str]):
    upload(page, ("cup.jpg", jpeg(400, 300)))
    result = page.locator(".result")
    sync_api.expect(result.locator(".bar").first).to_contain_text("%")
    sync_api.expect(result.locator("figcaption")).to_have_text("cup.jpg")
    for step in ("answer after", "decode", "queue", "infer"):
        sync_api.expect(result.locator(".times")).to_contain_text(step)
    assert result.locator(".bar").count() == 3
    assert result.locator("img").first.evaluate("image => image.naturalWidth") == 400
    assert faults == []


def test_of_a_picture_unlike_all_others_the_page_says_so_and_shows_no_confident_bar(page: sync_api.Page):
    ranked = [{"label": label, "probability": share} for label, share in (("red", 0.98), ("green", 0.02))]
    answer = {"model": COLOUR, "version": 2, "predictions": ranked, "familiar": False, "familiarity": 0.001}
    page.route("**/predict", lambda route: route.fulfill(json=answer))
    upload(page, ("truck.jpg", jpeg()))
    result = page.locator(".result")
    sync_api.expect(result.locator(".strange")).to_contain_text("nothing the model was trained on")
    sync_api.expect(result.locator(".bars.guess .bar")).to_have_count(2)
    sync_api.expect(page.locator("#news")).to_contain_text("nothing the model was trained on; its guess is red")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "strange.png")
    check_accessible(page)


def test_of_a_version_that_does_not_judge_the_page_says_nothing(page: sync_api.Page):
    upload(page, ("cup.jpg", jpeg()))
    sync_api.expect(page.locator(".result .bar").first).to_contain_text("%")
    sync_api.expect(page.locator(".result .strange")).to_be_hidden()


def test_several_pictures_make_a_grid(page: sync_api.Page):
    upload(page, *((f"{i}.jpg", jpeg(60 + i, 50)) for i in range(6)))
    sync_api.expect(page.locator(".result .bar:first-child")).to_have_count(6)
    tops = {round(box["y"]) for box in (item.bounding_box() for item in page.locator(".result").all()) if box}
    assert len(tops) < 6


def test_a_pasted_picture_is_classified(page: sync_api.Page):
    import base64

    page.evaluate(PASTE, [base64.b64encode(jpeg()).decode()])
    sync_api.expect(page.locator(".result .bar").first).to_contain_text("%")


def test_a_dropped_picture_is_classified(page: sync_api.Page):
    import base64

    drop = (
        PASTE.replace("ClipboardEvent", "DragEvent")
        .replace('"paste"', '"drop"')
        .replace("clipboardData", "dataTransfer")
    )
    page.evaluate(drop, [base64.b64encode(jpeg()).decode()])
    sync_api.expect(page.locator(".result .bar").first).to_contain_text("%")


def test_what_is_no_picture_gets_a_readable_error_beside_the_others(page: sync_api.Page):
    upload(page, ("notes.txt", TEXT), ("cup.jpg", jpeg()))
    sync_api.expect(page.locator(".result .problem:visible")).to_contain_text("Not an image we read")
    sync_api.expect(page.locator(".result .bar").first).to_contain_text("%")
    sync_api.expect(page.locator("#news")).not_to_be_empty()


def test_another_model_answers_with_its_own_labels(page: sync_api.Page):
    page.locator("#model").select_option(GREY)
    sync_api.expect(page.locator("#curl")).to_contain_text(GREY)
    upload(page, ("hand.jpg", jpeg()))
    sync_api.expect(page.locator(".result .bar")).to_have_count(4)


def test_the_camera_is_classified_live_and_can_be_stopped(page: sync_api.Page, faults: list[str]):
    page.get_by_role("button", name="Use the camera").click()
    sync_api.expect(page.locator("#rate")).to_contain_text("images per second")
    sync_api.expect(page.locator("#letter")).not_to_be_empty()
    page.screenshot(path=SCREENSHOTS / "camera.png")
    page.get_by_role("button", name="Stop the camera").click()
    sync_api.expect(page.locator("#live")).to_be_hidden()
    assert faults == []


@pytest.mark.parametrize("size", [(400, 300), (300, 400), (1200, 200)], ids=["wide", "tall", "panorama"])
def test_the_heat_map_lies_over_the_picture(page: sync_api.Page, faults: list[str], size: tuple[int, int]):
    page.get_by_label("Show what the decision rests on").check()
    upload(page, ("cup.jpg", jpeg(*size)))
    heat, picture = page.locator(".result .heat"), page.locator(".result img").first
    sync_api.expect(heat).to_be_visible()
    box = picture.bounding_box()
    assert heat.bounding_box() == pytest.approx(box)
    assert box
    assert box["width"] / box["height"] == pytest.approx(size[0] / size[1], rel=0.01)
    assert faults == []


def test_the_keyboard_alone_reaches_and_works_everything(page: sync_api.Page, tmp_path: Path):
    (tmp_path / "cup.jpg").write_bytes(jpeg())
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == ["model", "files", "camera", "heat"]  # nothing to remove yet
    with page.expect_file_chooser() as chooser:
        page.locator("#files").press("Enter")
    chooser.value.set_files(tmp_path / "cup.jpg")
    sync_api.expect(page.locator(".result")).to_have_count(1)
    page.locator("#clear").press("Enter")
    sync_api.expect(page.locator(".result")).to_have_count(0)


def test_both_colour_schemes_are_accessible(browser: sync_api.Browser, server: Server, faults: list[str], scheme: str):
    for page in opened(browser, server, faults, color_scheme=scheme):
        check_accessible(page)
        upload(page, ("cup.jpg", jpeg(400, 300)), ("notes.txt", TEXT))
        sync_api.expect(page.locator(".result .bar").first).to_contain_text("%")
        sync_api.expect(page.locator(".result .problem:visible")).to_have_count(1)
        check_accessible(page)
        page.screenshot(path=SCREENSHOTS / f"{scheme}.png", full_page=True)


def test_a_phone_shows_it_without_scrolling_sideways(browser: sync_api.Browser, server: Server, faults: list[str]):
    for page in opened(browser, server, faults, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True):
        upload(page, ("a-picture-with-a-very-long-name-that-does-not-fit-on-a-phone.jpg", jpeg(400, 300)))
        sync_api.expect(page.locator(".result .bar").first).to_contain_text("%")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=SCREENSHOTS / "phone.png", full_page=True)


def test_a_server_that_went_away_is_reported_plainly(page: sync_api.Page):
    page.route("**/predict", lambda route: route.abort())
    upload(page, ("cup.jpg", jpeg()))
    sync_api.expect(page.locator(".result .problem")).to_contain_text("cannot be reached")


def test_the_models_of_the_server_can_be_chosen(page: sync_api.Page):
    assert page.locator("#model option").all_text_contents() == [COLOUR, GREY]


def test_the_page_says_when_a_server_is_not_ready(page: sync_api.Page):
    page.route("**/v1/models", lambda route: route.fulfill(json={"models": [], "ready": False}))
    page.reload()
    sync_api.expect(page.locator("#state")).to_contain_text("Not ready")
