from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from service.api.bodies import forms_only, image_of, read_bytes, read_form, read_images, receive_image
from service.errors import BodyTooLarge, CallerGone, MalformedRequest, RequestError, UnsupportedMediaType

pytestmark = pytest.mark.anyio

IMAGE = b"\xff\xd8\xff not checked here \x00\x01"
LIMIT = 10_000


def a_request(chunks: Sequence[bytes], headers: dict[str, str] | None = None, *, breaks_off: bool = False) -> Request:
    """A request whose body arrives in these pieces; it ends, or the caller is gone."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.disconnect"} if breaks_off else {"type": "http.request", "body": b""})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def a_form(files: Sequence[tuple[str, Any]] = (), fields: dict[str, str] | None = None) -> Request:
    built = httpx.Request("POST", "http://x", files=list(files) or [("", b"")], data=fields or {})
    return a_request([built.read()], dict(built.headers))


def some_json(content: object) -> Request:
    return a_request([json.dumps(content).encode()], {"content-type": "application/json; charset=utf-8"})


async def read_image(request: Request, max_bytes: int) -> bytes:
    return await image_of(request, await receive_image(request, max_bytes))


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "IMAGE/PNG", "application/octet-stream", "application/x-www-form-urlencoded", None]
)
async def test_a_raw_image_is_the_body_as_it_is(kind: str | None) -> None:
    request = a_request([IMAGE[:5], IMAGE[5:]], {"content-type": kind} if kind else {})
    assert await read_image(request, LIMIT) == IMAGE


async def test_a_form_gives_its_file_called_image() -> None:
    assert await read_image(a_form([("image", ("cat.jpg", IMAGE))]), LIMIT) == IMAGE


async def test_json_gives_its_base64() -> None:
    assert await read_image(some_json({"image": base64.b64encode(IMAGE).decode()}), LIMIT) == IMAGE


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"image": "not base64!"}, "not base64"),
        ({"image": "data:image/png,AAAA"}, "a data: URL without base64"),
        ({"image": "data:image/png;base64"}, "a data: URL without base64"),
        ({"image": "data:image/png;base64,A"}, "not base64"),
        ({"image": "QUJD=QUJD"}, "not base64"),
        ({"image": "\u00e4\u00f6"}, "not base64"),
        ({"image": 7}, "got an object with image"),
        ({"image": "QUJD", "model": "cats"}, "got an object with image, model"),
        ({}, "got an object with nothing"),
        (["QUJD"], "got no object"),
        ("http://example.com/cat.jpg", "got no object"),
    ],
    ids=str,
)
async def test_any_other_json_is_refused_saying_what_came(content: object, says: str) -> None:
    with pytest.raises(MalformedRequest, match=says):
        await read_image(some_json(content), LIMIT)


async def test_a_large_image_in_json_is_read_too() -> None:
    body = bytes(range(256)) * 1024
    assert await read_image(some_json({"image": base64.b64encode(body).decode()}), 1_000_000) == body


@pytest.mark.parametrize(
    "dressed",
    [
        "data:image/png;base64,{padded}",
        "DATA:image/svg+xml;charset=utf-8;BASE64,{padded}",
        "data:;base64,{unpadded}",
        "{unpadded}",
        "{url}",
        "{url_unpadded}",
        " {lines}\r\n",
    ],
)
async def test_base64_is_read_in_every_usual_dress(dressed: str) -> None:
    image = bytes(range(256)) + b"\xfb\xff\xfe" + b"x"  # with `+`, `/` and padding
    padded, url = base64.b64encode(image).decode(), base64.urlsafe_b64encode(image).decode()
    lines = "\r\n".join(padded[at : at + 76] for at in range(0, len(padded), 76))
    forms = {
        "padded": padded,
        "unpadded": padded.rstrip("="),
        "url": url,
        "url_unpadded": url.rstrip("="),
        "lines": lines,
    }
    assert await read_image(some_json({"image": dressed.format(**forms)}), LIMIT) == image


async def test_a_form_field_without_a_file_name_is_named_as_that() -> None:
    with pytest.raises(MalformedRequest, match=r"text field 'image' .its part has no filename.*-F image=@cat.jpg"):
        await read_image(a_form(fields={"image": "bytes"}), LIMIT)


@pytest.mark.parametrize(
    "body",
    [b"[" * 5_000, b'{"image":' * 5_000, b'{"image": NaN}', b'{"image": "\\ud800"}', b"\xff", b"", b'{"image": 1e999}'],
    ids=["deep lists", "deep objects", "NaN", "half a character", "no UTF-8", "nothing", "too large a number"],
)
async def test_absurd_json_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        await read_image(a_request([body], {"content-type": "application/json"}), 1_000_000)


async def test_a_body_full_of_names_is_not_sent_back() -> None:
    with pytest.raises(MalformedRequest) as refused:
        await read_image(some_json({f"{n}" * 500: n for n in range(1_000)}), 3_000_000)
    assert len(str(refused.value)) < 1_000


PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    "body",
    [
        PART + b"\r" * 900_000,
        PART + b"\r\n--" * 200_000,
        (PART + b"\r\n") * 10_000,
        b"--x\r\n" + b"A: b\r\n" * 100_000,
        b"--x\r\nA: " + b"b" * 900_000,
        b'--x\r\nContent-Disposition: form-data; name="\xff\xfe"\r\n\r\nabc\r\n--x--',
        b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename*=nonsense''%ff\r\n\r\nabc\r\n--x--",
        b"--x\r\nContent-Disposition: form-data; name=image; filename=../../etc/passwd\r\n\r\n\r\n--y--",
        b"--x--",
    ],
    ids=["CRs", "almost boundaries", "parts", "headers", "a long header", "no text", "no charset", "no end", "no part"],
)
async def test_absurd_forms_are_the_clients_fault_and_cost_no_time(body: bytes) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(RequestError):
            await read_image(a_request([body], {"content-type": "multipart/form-data; boundary=x"}), 1_000_000)


async def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="not JSON"):
        await read_image(a_request([b"{"], {"content-type": "application/json"}), LIMIT)


@pytest.mark.parametrize("kind", ["text/html", "video/mp4", "nonsense"])
async def test_another_content_type_is_refused_naming_the_three_forms(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"multipart/form-data.*base64.*{kind}"):
        await read_image(a_request([IMAGE], {"content-type": kind}), LIMIT)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
async def test_a_compressed_body_is_refused_with_the_route_that_takes_it(encoding: str) -> None:
    form = a_form([("images", IMAGE)])
    form.scope["headers"].append((b"content-encoding", encoding.encode()))
    with pytest.raises(UnsupportedMediaType, match="only /v2 takes gzip"):
        await read_image(a_request([IMAGE], {"content-encoding": encoding}), LIMIT)
    with pytest.raises(UnsupportedMediaType, match="only /v2 takes gzip"):
        await read_images(form, LIMIT, max_images=2)


async def test_a_body_that_says_it_is_not_encoded_is_read() -> None:
    assert await read_image(a_request([IMAGE], {"content-encoding": "identity"}), LIMIT) == IMAGE


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (a_form([("picture", IMAGE)]), "got the file 'picture'"),
        (a_form([("image", IMAGE), ("image", IMAGE)]), "got the file 'image', the file 'image'"),
        (a_form([("image", IMAGE)], {"top_k": "1"}), "the text field 'top_k'"),
        (a_form(fields={"image": "http://127.0.0.1/cat.jpg"}), "the text field 'image'"),
    ],
    ids=["another name", "two files", "text beside it", "a URL in place of the file"],
)
async def test_a_form_of_another_make_is_refused_saying_what_came(form: Request, says: str) -> None:
    with pytest.raises(MalformedRequest, match=says):
        await read_image(form, LIMIT)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"--x\r\n", "multipart/form-data"),
        (b"nothing like it", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data; boundary=x"),
    ],
    ids=["no boundary", "another body", "a part without a name", "empty"],
)
async def test_a_broken_form_is_the_clients_fault(body: bytes, kind: str) -> None:
    with pytest.raises(RequestError) as refused:
        await read_image(a_request([body], {"content-type": kind}), LIMIT)
    assert refused.value.status == 400


async def test_a_batch_gives_its_files_in_order() -> None:
    form = a_form([("images", ("a", b"1")), ("images", ("b", b"2")), ("images", ("c", b""))])
    assert await read_images(form, LIMIT, 3) == [b"1", b"2", b""]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (a_form([("image", IMAGE)]), "got the file 'image'"),
        (a_form(fields={"images": "http://127.0.0.1/cat.jpg"}), "the text field 'images'"),
    ],
    ids=["another name", "a URL in place of a file"],
)
async def test_a_batch_of_another_make_is_refused_saying_what_came(form: Request, says: str) -> None:
    with pytest.raises(MalformedRequest, match=says):
        await read_images(form, LIMIT, 3)


async def test_a_batch_is_multipart_or_nothing() -> None:
    with pytest.raises(UnsupportedMediaType, match="multipart/form-data"):
        await read_images(a_request([IMAGE], {"content-type": "image/jpeg"}), LIMIT, 3)


async def test_more_images_than_allowed_are_too_large() -> None:
    with pytest.raises(BodyTooLarge, match="at most 3 files"):
        await read_images(a_form([("images", IMAGE)] * 4), LIMIT, 3)


async def test_more_bytes_than_allowed_are_refused_before_they_are_read() -> None:
    request = a_request([], {"content-length": "10001"}, breaks_off=True)
    with pytest.raises(BodyTooLarge, match="10,001 were announced"):
        await read_bytes(request, LIMIT)


async def test_more_bytes_than_allowed_are_refused_when_nothing_was_announced() -> None:
    with pytest.raises(BodyTooLarge, match="more came"):
        await read_bytes(a_request([b"x" * 6_000, b"x" * 6_000, b"never read"]), LIMIT)


async def test_the_limit_holds_for_forms_too() -> None:
    with pytest.raises(BodyTooLarge):
        await read_image(a_form([("image", b"x" * 20_000)]), LIMIT)


async def test_the_limit_itself_is_allowed() -> None:
    assert len(await read_bytes(a_request([b"x" * LIMIT]), LIMIT)) == LIMIT


async def test_a_caller_who_leaves_during_the_upload_is_gone() -> None:
    with pytest.raises(CallerGone):
        await read_image(a_request([IMAGE], {"content-type": "image/jpeg"}, breaks_off=True), LIMIT)


async def test_text_fields_stay_text() -> None:
    files, fields = await read_form(a_form([("image", IMAGE)], {"model": "http://127.0.0.1/"}), LIMIT)
    assert ([name for name, _ in files], fields) == (["image"], {"model": "http://127.0.0.1/"})


@pytest.mark.parametrize("kind", ["application/vnd.bentoml+pickle", "application/json", "image/jpeg", ""])
async def test_where_only_forms_are_taken_another_post_does_not_reach_the_app(kind: str) -> None:
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append((scope["method"], scope["path"]))

    def scope_of(method: str, path: str, kind: str) -> dict[str, Any]:
        return {"type": "http", "method": method, "path": path, "headers": [(b"content-type", kind.encode())]}

    never: Any = None
    guarded = forms_only(app, "/classify")
    with pytest.raises(
        UnsupportedMediaType, match=f"expected a multipart/form-data body, got {re.escape(kind or 'no')}"
    ):
        await guarded(scope_of("POST", "/classify", kind), never, never)
    assert not reached
    await guarded(scope_of("POST", "/classify", "multipart/form-data; boundary=x"), never, never)
    await guarded(scope_of("GET", "/classify", kind), never, never)
    await guarded(scope_of("POST", "/v1/elsewhere", kind), never, never)
    assert reached == [("POST", "/classify"), ("GET", "/classify"), ("POST", "/v1/elsewhere")]
