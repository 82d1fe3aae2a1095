"""The page in a real Chromium, against a real server."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.browsers import (
    DESKTOP,
    MARKS,
    PHONE,
    check_accessible,
    choose,
    give,
    launched,
    opened,
    sync_api,
    take_picture,
    until,
)
from tests.e2e.servers import Server
from tests.service.pictures import TEXT, jpeg
from tests.tiny_models import COLOUR, GREY

pytestmark = MARKS
expect = sync_api.expect

HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100)


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: sync_api.Browser, server: Server) -> Iterator[sync_api.Page]:
    with opened(browser, server.url) as page:
        expect(page.locator("#state")).to_have_text("Ready")
        yield page


def answer(**changes: Any) -> dict[str, Any]:
    ranked = [{"label": label, "probability": share} for label, share in (("red", 0.98), ("green", 0.02))]
    return {"model": COLOUR, "version": 2, "predictions": ranked, "familiar": True, "familiarity": 0.5} | changes


def answer_each(page: sync_api.Page, *answers: dict[str, Any]) -> None:
    """Have the requests to `predict` answered in turn."""
    turn = itertools.count()
    page.route("**/predict", lambda route: route.fulfill(json=answers[next(turn) % len(answers)]))


def refuse(page: sync_api.Page, status: int, code: str) -> None:
    """Have the requests to `predict` refused."""
    page.unroute("**/predict")
    problem = {"title": "No", "status": status, "detail": "what the server says", "code": code}
    page.route("**/predict", lambda route: route.fulfill(status=status, json=problem))


def drop_folder(page: sync_api.Page, folder: Path) -> None:
    """As from the system's file manager."""
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 300, "data": data})


def test_first_sight_names_the_models_and_chooses_the_one_for_photos(browser: sync_api.Browser, server: Server):
    with opened(browser, "about:blank", lambda _: True) as page:
        names = [{"model": name, "version": 1, "versions": [1], "ready": True} for name in (GREY, COLOUR)]
        page.route("**/v1/models", lambda route: route.fulfill(json={"models": names, "ready": True}))
        page.goto(server.url)
        expect(page.locator("#state")).to_have_text("Ready")
        assert page.locator("#model option").evaluate_all("all => all.map((one) => one.value)") == [GREY, COLOUR]
        expect(page.locator("#model")).to_have_value(COLOUR)  # not the first: it sees colours
        expect(page.locator("#about")).to_contain_text("Tells apart red, green, and blue. Right on ")
        page.locator("#model").select_option(GREY)
        expect(page.locator("#curl")).to_contain_text(GREY)
        assert page.get_by_role("link", name="API").get_attribute("href") == "docs"
        assert page.locator("link[rel=icon]").get_attribute("href") == "web/icon.svg"


def test_pictures_come_chosen_pasted_dropped_from_a_folder_and_as_a_sample(page: sync_api.Page, tmp_path: Path):
    choose(page, ("cup.jpg", jpeg(400, 300)))
    first = page.locator(".result").first
    expect(first.locator(".bar").first).to_contain_text("%")
    expect(first.locator("figcaption")).to_contain_text("cup.jpg")
    expect(first.locator(".by")).to_contain_text("version 2")
    for step in ("answer after", "decode", "queue", "infer"):
        expect(first.locator(".times")).to_contain_text(step)
    assert first.locator("img").first.evaluate("image => image.naturalWidth") == 400
    expect(first.locator(".strange")).to_be_hidden()  # of a version that does not judge, nothing is said
    give(page, "paste", "", "no picture and no link")
    expect(page.locator("#notice")).to_be_hidden()
    give(page, "paste", "shot.png", jpeg())
    expect(page.locator(".result")).to_have_count(2)
    give(page, "drop", "dropped.jpg", jpeg())
    expect(page.locator(".result")).to_have_count(3)
    (tmp_path / "more" / "deep").mkdir(parents=True)
    for name in ("a.jpg", "deep/b.jpg", "notes.txt"):
        (tmp_path / "more" / name).write_bytes(TEXT if name.endswith("txt") else jpeg())
    page.locator("#folder").set_input_files(tmp_path / "more")
    expect(page.locator("#notice")).to_have_text("2 of 3 files in the folder are pictures.")
    page.get_by_role("button", name="Stripes").click()
    drop_folder(page, tmp_path / "more")
    expect(page.locator(".result[data-state=answered]")).to_have_count(8)
    names = page.locator(".result .name").all_text_contents()
    assert names[:3] == ["cup.jpg", "shot.png", "dropped.jpg"]  # in the order they came
    tops = {round(box["y"]) for box in (item.bounding_box() for item in page.locator(".result").all()) if box}
    assert len(tops) < 8  # a grid
    for kind in ("paste", "drop"):
        give(page, kind, "", "https://example.com/cat.jpg")
        expect(page.locator("#notice")).to_contain_text("the server fetches none")


def test_results_are_counted_filtered_sorted_saved_and_asked_again(page: sync_api.Page):
    strange = answer(familiar=False, familiarity=0.001)
    unsure = answer(predictions=[{"label": "green", "probability": 0.4}, {"label": "red", "probability": 0.35}])
    answer_each(page, answer(), strange, unsure)
    for name in ("=a.jpg", "b.jpg", "c.jpg"):  # one by one, so that each gets its own answer
        choose(page, (name, jpeg()))
        expect(page.locator(".result[data-state=answered]", has_text=name)).to_have_count(1)
    choose(page, ("notes.txt", TEXT))
    expect(page.locator(".result[data-state=failed]")).to_have_count(1)
    expect(page.locator("#counts button")).to_have_text(["All 4", "red 1", "Unsure 1", "Unfamiliar 1", "Failed 1"])
    expect(page.locator(".result .strange:visible")).to_contain_text("nothing the model was trained on")
    expect(page.locator(".bars.guess .bar")).to_have_count(2)
    page.get_by_role("button", name="Unfamiliar 1").click()
    expect(page.locator(".result:visible .name")).to_have_text(["b.jpg"])
    page.get_by_role("button", name="All 4").click()
    page.locator("#sort").select_option("unsure")
    expect(page.locator(".result .name")).to_have_text(["notes.txt", "c.jpg", "=a.jpg", "b.jpg"])
    page.locator("#sort").select_option("chosen")
    check_accessible(page)
    saved = {}
    for kind in ("csv", "json"):
        with page.expect_download() as download:
            page.locator(f"#{kind}").click()
        saved[kind] = Path(download.value.path()).read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(saved["csv"])))
    assert [row["file"] for row in rows] == ["'=a.jpg", "b.jpg", "c.jpg", "notes.txt"]  # no formula of a table
    assert (rows[0]["label"], rows[0]["probability"], rows[1]["familiar"]) == ("red", "0.98", "false")
    assert rows[3]["error"] == "not-an-image"
    assert json.loads(saved["json"])[2]["predictions"][0] == {"label": "green", "probability": 0.4}
    page.unroute("**/predict")
    page.locator("#model").select_option(GREY)
    expect(page.locator("#again")).to_contain_text("4 results are by another model")
    page.locator("#again button").click()
    expect(page.locator(".result .by").first).to_contain_text("version 1")
    expect(page.locator("#again")).to_be_hidden()
    page.locator("#version").select_option("1")
    expect(page.locator("#again")).to_be_hidden()  # it is the same
    page.locator("#clear").click()
    expect(page.locator("#outcome")).to_be_hidden()


def test_another_version_is_asked_and_copies_of_the_request_run(page: sync_api.Page, tmp_path: Path):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#version").select_option("1")
    name = "a cup's.jpg"
    (tmp_path / name).write_bytes(jpeg())
    choose(page, (name, jpeg()))
    card = page.locator(".result")
    expect(card.locator(".by")).to_contain_text("version 1")
    card.locator("summary").click()
    runs = {"curl": ["sh", "-c"], "Python": [sys.executable, "-c"]}
    for language, command in runs.items():
        card.get_by_role("button", name=language).click()
        expect(page.locator("#news")).to_have_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        if shutil.which(command[0]) and (language != "curl" or shutil.which("curl")):
            ran = subprocess.run([*command, copied], cwd=tmp_path, capture_output=True, text=True, check=True)
            assert "'version': 1" in ran.stdout.replace('"', "'").replace(":1", ": 1")
        page.evaluate("document.getElementById('news').textContent = ''")
    card.get_by_role("button", name="JavaScript").click()
    expect(page.locator("#news")).to_have_text("Copied")
    assert "versions/1/predict" in page.evaluate("navigator.clipboard.readText()")


def test_the_heat_map_lies_over_pictures_of_every_shape_also_over_those_already_there(page: sync_api.Page):
    sizes = {"wide.jpg": (400, 300), "tall.jpg": (300, 400), "panorama.jpg": (1200, 200)}
    choose(page, *((name, jpeg(*size)) for name, size in sizes.items()))
    expect(page.locator(".result[data-state=answered]")).to_have_count(3)
    page.get_by_role("button", name="What does it rest on?").first.click()
    expect(page.locator(".legend:visible")).to_have_count(1)
    page.get_by_label("Show what the decision rests on").check()
    expect(page.locator(".heat:visible")).to_have_count(3)
    for name, size in sizes.items():
        card = page.locator(".result", has_text=name)
        box = card.locator("img").first.bounding_box()
        assert card.locator(".heat").bounding_box() == pytest.approx(box)
        assert box
        assert box["width"] / box["height"] == pytest.approx(size[0] / size[1], rel=0.01)
    page.get_by_label("Show what the decision rests on").uncheck()
    expect(page.locator(".heat:visible")).to_have_count(0)


FAILURES = {
    "notes.txt": (TEXT, "This is a text, not a picture"),
    "empty.jpg": (b"", "This file is empty"),
    "paper.pdf": (b"%PDF-1.7\n", "This is a PDF"),
    "clip.mov": (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ", "This is a video"),
    "cut.jpg": (jpeg(400, 300)[:2_000], "damaged or incomplete"),
}


def test_what_is_no_picture_is_named_with_what_to_do_and_disturbs_no_other(page: sync_api.Page):
    choose(page, *((name, body) for name, (body, _) in FAILURES.items()), ("cup.jpg", jpeg()))
    for name, (_, says) in FAILURES.items():
        expect(page.locator(".result", has_text=name).locator(".problem")).to_contain_text(says)
    expect(page.locator(".result[data-state=answered]")).to_have_count(1)
    refuse(page, 415, "not-an-image")
    choose(page, ("phone.heic", HEIC))
    expect(page.locator(".result", has_text="phone.heic").locator(".problem")).to_contain_text("Most Compatible")
    for code, status, says in (("body-too-large", 413, "larger than"), ("upload-too-slow", 408, "line was too slow")):
        refuse(page, status, code)
        choose(page, (f"{code}.jpg", jpeg()))
        expect(page.locator(".result", has_text=f"{code}.jpg").locator(".problem")).to_contain_text(says)
    page.unroute("**/predict")
    page.locator(".result", has_text="upload-too-slow").get_by_role("button", name="Try again").click()
    expect(page.locator(".result[data-state=answered]")).to_have_count(2)
    page.get_by_role("button", name="Try the failed ones again").click()
    expect(page.locator(".result[data-state=answered]")).to_have_count(3)  # and one that was refused before


def test_a_server_that_is_loading_busy_or_away_is_asked_again_by_the_page_itself(page: sync_api.Page):
    busy = {"code": "queue-full", "detail": "256 wait", "status": 429, "title": "Full"}
    turn = itertools.count()

    def first_refuse(route: Any) -> None:
        if next(turn):
            route.continue_()
        else:
            route.fulfill(status=429, json=busy, headers={"Retry-After": "1"})

    page.route("**/predict", first_refuse)
    choose(page, ("cup.jpg", jpeg()))
    expect(page.locator(".result .problem")).to_contain_text("busy")
    expect(page.locator(".result .bar").first).to_contain_text("%")
    page.context.set_offline(True)
    choose(page, ("later.jpg", jpeg()))
    expect(page.locator("#state")).to_contain_text("cannot be reached")
    expect(page.locator(".result", has_text="later.jpg").locator(".problem")).to_contain_text("asks again by itself")
    page.context.set_offline(False)
    expect(page.locator(".result[data-state=answered]")).to_have_count(2, timeout=20_000)
    expect(page.locator("#state")).to_have_text("Ready")
    page.route("**/v1/models", lambda route: route.fulfill(json={"models": [], "ready": False}))
    page.reload()
    expect(page.locator("#state")).to_contain_text("Not ready yet")
    page.unroute("**/v1/models")
    expect(page.locator("#state")).to_have_text("Ready")


def test_many_files_show_progress_and_can_be_cancelled(page: sync_api.Page):
    held: list[Any] = []
    page.route("**/predict", lambda route: held.append(route))  # noqa: PLW0108 (Playwright marks the handler)
    choose(page, *((f"{number}.jpg", jpeg()) for number in range(12)))
    expect(page.locator("#done")).to_have_text("0 of 12 pictures are done")
    expect(page.locator(".result[data-state=sending]")).to_have_count(4)
    until(page, lambda: len(held) == 4)  # the page says that it sends before the requests are on their way
    for route in held[:2]:
        route.continue_()
    expect(page.locator("#done")).to_contain_text("2 of 12")
    page.locator("#cancel").click()
    expect(page.locator(".result[data-state=failed]")).to_have_count(10)
    expect(page.locator("#working")).to_be_hidden()
    page.unroute("**/predict")
    page.get_by_role("button", name="Try the failed ones again").click()
    expect(page.locator(".result[data-state=answered]")).to_have_count(12)


def test_large_photos_are_shrunk_upright_unless_that_is_switched_off(page: sync_api.Page):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    out = io.BytesIO()
    Image.effect_noise((1600, 1200), 90).convert("RGB").save(out, "JPEG", quality=90, exif=exif)
    sent: list[int] = []
    page.on(
        "request", lambda asked: sent.append(len(asked.post_data_buffer or b"")) if "/predict" in asked.url else None
    )
    choose(page, ("photo.jpg", out.getvalue()))
    expect(page.locator(".result .times")).to_contain_text("instead of")
    sides = page.locator(".result img").first.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert sides == [256, 341]
    page.get_by_label("Shrink large photos").uncheck()
    choose(page, ("whole.jpg", out.getvalue()))
    expect(page.locator(".result[data-state=answered]")).to_have_count(2)
    expect(page.locator(".result", has_text="whole.jpg").locator(".times")).not_to_contain_text("instead of")
    assert sent[0] < len(out.getvalue()) / 10


def test_the_camera_is_classified_live_and_its_faults_are_named(page: sync_api.Page):
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#rate")).to_contain_text("pictures per second")
    expect(page.locator("#letter")).not_to_be_empty()
    take_picture(page, "camera")
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.locator("#live")).to_be_hidden()
    for name, says in (
        ("NotFoundError", "No camera"),
        ("NotAllowedError", "not allowed"),
        ("NotReadableError", "Another"),
    ):
        fail = "(name) => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', name)) }"
        page.evaluate(fail, name)
        page.get_by_role("button", name="Use the camera").click()
        expect(page.locator("#notice")).to_contain_text(says)
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")  # as by http elsewhere
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#notice")).to_contain_text("only to pages by https")


def test_every_text_is_in_every_language_and_every_word_of_the_page_is_a_text(page: sync_api.Page):
    texts = page.evaluate("import('/web/texts.js').then(({ TEXTS }) => TEXTS)")
    names = {code: set(found) for code, found in texts.items()}
    assert names["de"] == names["en"] == names["ko"]
    for code, found in texts.items():
        for key, text in found.items():
            assert set(filter(None, text.split("{")[1:])) or "{" not in text
            wanted = {part.split("}")[0] for part in texts["en"][key].split("{")[1:]}
            assert {part.split("}")[0] for part in text.split("{")[1:]} == wanted, (code, key)
    used = page.locator("[data-text], [data-label]").evaluate_all(
        "all => all.flatMap(({ dataset }) => [dataset.text, dataset.label]).filter(Boolean)"
    )
    assert set(used) <= names["en"]
    page.locator("#language").select_option("de")
    expect(page.locator("#state")).to_have_text("Bereit")
    choose(page, ("tasse.jpg", jpeg()))
    expect(page.locator(".bar").first).to_contain_text(",")  # 33,3 %
    assert page.evaluate("document.documentElement.lang") == "de"
    page.reload()
    expect(page.locator("#state")).to_have_text("Bereit")  # it stays


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["1280", "390"])
def test_every_state_is_accessible_and_fits_on_a_desk_and_on_a_phone(
    browser: sync_api.Browser, server: Server, scheme: str, device: dict[str, Any]
):
    width = device["viewport"]["width"]
    with opened(browser, server.url, color_scheme=scheme, **device) as page:
        expect(page.locator("#state")).to_have_text("Ready")
        take_picture(page, f"first-{width}-{scheme}")
        check_accessible(page)
        answer_each(page, answer(), answer(familiar=False, familiarity=0.001))
        choose(page, ("a-picture-with-a-very-long-name-that-does-not-fit-on-a-phone.jpg", jpeg(400, 300)))
        expect(page.locator(".result[data-state=answered]")).to_have_count(1)
        choose(page, ("truck.jpg", jpeg(300, 300)), ("notes.txt", TEXT))
        expect(page.locator(".result[data-state=answered]")).to_have_count(2)
        page.get_by_role("button", name="What does it rest on?").first.click()
        expect(page.locator(".heat:visible")).to_have_count(1)
        page.locator(".result summary").first.click()
        page.locator("#model").select_option(GREY)
        expect(page.locator("#again")).to_be_visible()
        take_picture(page, f"results-{width}-{scheme}")
        check_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
