"""Request bodies to image bytes, never more of them than allowed. Nothing that a client names is ever fetched."""

from __future__ import annotations

import asyncio
import binascii
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from itertools import islice
from typing import Any, NamedTuple

import orjson
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.unfolding import Held, text_bytes
from service.errors import BodyTooLarge, CallerGone, MalformedRequest, UnsupportedMediaType

# curl --data-binary sends a form's type unless another is set; what came is judged by its bytes anyway.
_RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")
_FORM = "multipart/form-data"
_JSON = "application/json"

_PLAIN_ALPHABET = bytes.maketrans(b"-_", b"+/")  # from base64url

INLINE_JSON_BYTES = 65_536  # more is parsed in a thread, for it would hold the event loop

# It would write a line of its own, with what it did not expect, for each broken form.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

_MAX_FIELDS = 16  # parts of one form beyond the images of predict-batch; no route knows more than four

Files = list[tuple[str, bytes]]
Fields = dict[str, str]


class Sent(NamedTuple):
    """What a request for one image has uploaded: an image file, or JSON with one in base64."""

    body: bytes
    is_json: bool = False


async def receive_image(request: Request, max_bytes: int) -> Sent:
    """The body of a request for one image: raw, the multipart file `image`, or JSON, which `image_of` reads.

    Raises MalformedRequest, UnsupportedMediaType, BodyTooLarge or CallerGone.
    """
    _check_encoding(request)
    kind = media_type(request)
    if is_image(kind):
        return Sent(await read_bytes(request, max_bytes))
    if kind == _FORM:
        return Sent(the_image(*await read_form(request, max_bytes)))
    if kind == _JSON:
        return Sent(await read_bytes(request, max_bytes), is_json=True)
    raise UnsupportedMediaType(
        f"expected the image as image/* or application/octet-stream, {_FORM} with a file `image`, or {_JSON} "
        f'{{"image": "<base64>"}}; got {kind}'
    )


async def image_of(request: Request, sent: Sent) -> bytes:
    """The encoded image in what was sent. Raises MalformedRequest, BodyTooLarge or TooManyBytes."""
    if not sent.is_json:
        return sent.body
    if len(sent.body) <= INLINE_JSON_BYTES:
        return _image_of_json(sent.body)
    with Held(request) as held:
        async with held.turn_of_texts():
            held.add(await asyncio.to_thread(text_bytes, sent.body))
            return await asyncio.to_thread(_image_of_json, sent.body)


async def read_images(request: Request, max_bytes: int, max_images: int) -> list[bytes]:
    """The encoded images of a request: one or more multipart files, each named `images`. Raises as `receive_image`."""
    files, fields = await read_form(request, max_bytes, max_files=max_images)
    if not files or fields or any(name != "images" for name, _ in files):
        came = _named(files, fields)
        raise MalformedRequest(f"expected files named `images` and nothing else, got {came}; curl: -F images=@cat.jpg")
    return [body for _, body in files]


def the_image(files: Files, fields: Fields) -> bytes:
    """The one file of a form, which must be called `image`; text beside it is refused. Raises MalformedRequest."""
    if fields or [name for name, _ in files] != ["image"]:
        came = _named(files, fields)
        raise MalformedRequest(f"expected one file named `image` and nothing else, got {came}; curl: -F image=@cat.jpg")
    return files[0][1]


async def read_form(request: Request, max_bytes: int, max_files: int = _MAX_FIELDS) -> tuple[Files, Fields]:
    """Files in order and text fields by name of a multipart body. A text field stays text: a URL in it is not followed.

    Raises UnsupportedMediaType, MalformedRequest, BodyTooLarge or CallerGone.
    """
    check_is_form(request)
    async with aclosing(_chunks(request, max_bytes)) as chunks:
        parser = MultiPartParser(request.headers, chunks, max_files=max_files, max_fields=_MAX_FIELDS)
        parser.spool_max_size = max_bytes + 1  # the body is bounded already, so nothing need touch the disk
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if error.message.startswith("Too many files"):
                raise BodyTooLarge(f"at most {max_files} files are read in one request, more came") from error
            raise MalformedRequest(f"the multipart body is malformed: {error.message}") from error
    try:
        files = [(name, part.file.read()) for name, part in form.multi_items() if isinstance(part, UploadFile)]
        return files, {name: part for name, part in form.multi_items() if isinstance(part, str)}
    finally:
        await form.close()
        for unfinished in parser._files_to_close_on_error:  # of a form that breaks off; Starlette leaves it open
            unfinished.close()


def check_is_form(request: Request) -> None:
    """Raise UnsupportedMediaType where the headers announce anything but a multipart body."""
    _check_encoding(request)
    if (kind := media_type(request)) != _FORM:
        raise UnsupportedMediaType(f"expected a {_FORM} body, got {kind or 'no Content-Type'}")


def forms_only(app: ASGIApp, path: str) -> ASGIApp:
    """An app that takes nothing but multipart bodies on one path. It raises UnsupportedMediaType for any other POST.

    BentoML refuses a pickle before its endpoint is reached, and logs that with a traceback.
    """

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == path and scope["method"] == "POST":
            check_is_form(Request(scope))
        await app(scope, receive, send)

    return checked


async def read_bytes(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as it is known to be, or CallerGone."""
    _check_announced(request, max_bytes)
    whole, more = await _next_part(request, 0, max_bytes)
    if not more:  # as it is with most images
        return whole
    parts, size = [whole], len(whole)
    while more:
        part, more = await _next_part(request, size, max_bytes)
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def media_type(request: Request) -> str:
    """The Content-Type in lower case without its parameters; "" where there is none."""
    return kind_of(request.headers.get("content-type") or "")


def kind_of(content_type: str) -> str:
    """A Content-Type in lower case without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_image(kind: str) -> bool:
    """Whether a body of this media type is taken for an image file as it is."""
    return kind in _RAW or kind.startswith("image/")


async def _chunks(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    _check_announced(request, max_bytes)
    size, more = 0, True
    while more:
        part, more = await _next_part(request, size, max_bytes)
        size += len(part)
        yield part


def _check_encoding(request: Request) -> None:
    """Refuse a compressed body: images are compressed already, and an expanded one would need limits of its own."""
    if (encoding := request.headers.get("content-encoding") or "identity").lower() != "identity":
        raise UnsupportedMediaType(
            f"expected a body without Content-Encoding, got {encoding[:40]!r}; only /v2 takes gzip and deflate"
        )


def _check_announced(request: Request, max_bytes: int) -> None:
    """Refuse a body for what its head says of it."""
    announced = request.headers.get("content-length") or "0"
    if announced.isdecimal() and int(announced) > max_bytes:
        raise BodyTooLarge(f"at most {max_bytes:,} bytes are read, {int(announced):,} were announced")


async def _next_part(request: Request, size: int, max_bytes: int) -> tuple[bytes, bool]:
    """What comes of a body after `size` bytes, and whether there is more. Starlette's stream would add layers."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise CallerGone("the caller hung up before the body was complete")
    part: bytes = message.get("body", b"")
    if size + len(part) > max_bytes:
        raise BodyTooLarge(f"at most {max_bytes:,} bytes are read, more came")
    return part, message.get("more_body", False)


def _image_of_json(body: bytes) -> bytes:
    try:
        content: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error
    if not isinstance(content, dict) or set(content) != {"image"} or not isinstance(content["image"], str):
        came = f"an object with {_listed(content)}" if isinstance(content, dict) else "no object"
        raise MalformedRequest(f'expected {{"image": "<base64>"}} and nothing else, got {came}')
    text: str = content.pop("image")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, or a character outside ASCII
        encoded = text.encode(errors="replace")
    del text  # so that no more than two copies are there at a time
    return _decoded(encoded)


def _decoded(encoded: bytes) -> bytes:
    """The bytes of a data: URL, or of base64 or base64url, with line breaks and without padding too.

    Raises MalformedRequest.
    """
    if encoded[:5].lower() == b"data:":
        head, comma, encoded = encoded.partition(b",")
        if not comma or not head.lower().rstrip().endswith(b";base64"):
            raise MalformedRequest("`image` is a data: URL without base64; it begins data:image/jpeg;base64,")
    encoded = encoded.translate(_PLAIN_ALPHABET, b" \t\r\n").rstrip(b"=")
    encoded += b"=" * (-len(encoded) % 4)
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise MalformedRequest(f"`image` is not base64 (RFC 4648), bare or in a data: URL: {error}") from error


def _named(files: Files, fields: Fields) -> str:
    names = [f"the file {name!r}" for name, _ in files]
    names += [f"the text field {name!r} (its part has no filename, which makes a file)" for name in fields]
    return _listed(names, "none")


def _listed(names: Iterable[str], nothing: str = "nothing") -> str:
    """The first few names, the first few letters of each: a body may be full of them."""
    return ", ".join(name[:80] for name in islice(names, 8)) or nothing
