"""Every limit of the table is run into, and answers as the table says."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import httpx
import orjson
import pytest
import uvicorn

from classifier.decode_process import messages
from classifier.errors import ImageTooLarge, SightlineError
from docs.tables import LIMITS as PAGE
from docs.tables import limits_page
from service.api.openapi.limits import LIMITS, Limit, describe
from service.api.routes import create_app, serve_catalog
from service.errors import BrokenForward
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.inference.decode_pool import APART_WAITING, LARGE_WAITING
from service.server.shutdown import Shutdown
from service.settings import Settings
from tests.hostile import MAKERS
from tests.service.api.test_middleware import Upload, behind_middleware, traffic_of
from tests.service.api.test_routes import BATCH, PREDICT
from tests.service.pictures import jpeg, of_one_colour, slow_to_decode
from tests.service.server.contexts import context_of
from tests.service.server.test_protocol import a_connection, respond, until_closed
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio

Refusal = tuple[int, str]


class Stuck:
    """An engine that does not answer until it is released."""

    name, precision, device, streams, max_in_flight = "openvino", "float32", "a fake", 1, 1
    infers_here = False
    one_stream = False

    def __init__(self) -> None:
        self.running: list[Future[Any]] = []
        self.is_released = False

    def submit(self, pixels_u8: object, *, alone: bool = False) -> Future[Any]:
        self.running.append(future := Future())
        if self.is_released:
            self.release()
        return future

    def release(self) -> None:
        self.is_released = True
        while self.running:
            self.running.pop().set_exception(BrokenForward("released"))

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def one_version(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A catalog, not loaded, of the newest colour version alone, which takes a third of the time to load."""
    root = tmp_path_factory.mktemp("one") / "models"
    shutil.copytree(catalog.settings.models / COLOUR / "2", root / COLOUR / "2")
    return Catalog(dataclasses.replace(catalog.settings, models=root))


@asynccontextmanager
async def server(catalog: Catalog, **changes: Any) -> Any:
    """A client of a server with the models of a catalog and other settings."""
    settings = dataclasses.replace(catalog.settings, **changes)
    own = Catalog(settings)
    await own.load()
    app = create_app()
    serve_catalog(app, own)
    try:
        async with behind_middleware(traffic_of(settings, app), app) as client:
            yield client, own, app
    finally:
        for _, _, entry in own.all():
            if isinstance(entry, Classifier) and isinstance(entry.model.engine, Stuck):
                entry.model.engine.release()
        await own.close()


def refusal_of(answer: httpx.Response) -> Refusal:
    return answer.status_code, answer.json()["code"]


async def refusal_of_upload(upload: Upload) -> Refusal:
    status = await upload.status()
    code = upload.headers()["x-error-code"]
    upload.hang_up()
    await upload.task
    return status, code


async def too_many_bytes_in_a_body(catalog: Catalog) -> Refusal:
    async with server(catalog, max_body_bytes=100) as (client, _, _):
        return refusal_of(await client.post(PREDICT, content=bytes(101)))


async def too_many_pixels(catalog: Catalog) -> Refusal:
    async with server(catalog, max_pixels=10_000) as (client, _, _):
        return refusal_of(await client.post(PREDICT, content=of_one_colour(101, 100)))


async def too_many_images(catalog: Catalog) -> Refusal:
    async with server(catalog, max_images=2) as (client, _, _):
        return refusal_of(await client.post(BATCH, files=[("images", jpeg())] * 3))


def stick(catalog: Catalog) -> None:
    classifier = catalog.find(COLOUR)
    classifier.model.close()
    stuck: Any = Stuck()
    classifier.model.engine = stuck


async def first_refusal(posts: Iterable[Coroutine[Any, Any, httpx.Response]]) -> Refusal:
    """What is answered first; the others leave."""
    done, left = await asyncio.wait(map(asyncio.create_task, posts), return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return refusal_of(done.pop().result())


async def a_full_queue(catalog: Catalog) -> Refusal:
    async with server(catalog, queue_limit=4, max_batch=1, max_images=4, streams=1) as (client, own, _):
        stick(own)
        return await first_refusal(client.post(PREDICT, content=jpeg()) for _ in range(6))


async def too_many_explanations(catalog: Catalog) -> Refusal:
    async with server(catalog, streams=1) as (client, own, _):
        stick(own)
        path = f"/v1/models/{COLOUR}/explain"
        return await first_refusal(client.post(path, content=jpeg()) for _ in range(12))


async def too_many_large_pictures(catalog: Catalog) -> Refusal:
    body = slow_to_decode()
    async with server(catalog) as (client, _, _):
        return await first_refusal(client.post(PREDICT, content=body) for _ in range(LARGE_WAITING + 2))


async def too_many_small_pictures(catalog: Catalog) -> Refusal:
    body = next(maker for maker in MAKERS if maker.name == "bmp-deltas-of-nothing")(250_000).body
    async with server(catalog, queue_limit=2 * APART_WAITING, max_body_bytes=300_000) as (client, _, _):
        return await first_refusal(client.post(PREDICT, content=body) for _ in range(APART_WAITING + 4))


async def too_many_pictures_apart(catalog: Catalog) -> Refusal:
    body = next(maker for maker in MAKERS if maker.name == "png-one-column-interlaced")(0).body
    async with server(catalog, queue_limit=2 * APART_WAITING, max_body_bytes=100_000) as (client, _, _):
        return await first_refusal(client.post(PREDICT, content=body) for _ in range(APART_WAITING + 4))


def hostile(name: str, size: int = 300_000) -> Callable[[Catalog], Awaitable[Refusal]]:
    """What is answered to such a picture of about so many bytes."""

    async def ask(catalog: Catalog) -> Refusal:
        body = next(maker for maker in MAKERS if maker.name == name)(size).body
        async with server(catalog, max_body_bytes=2 * len(body)) as (client, _, _):
            return refusal_of(await client.post(PREDICT, content=body))

    return ask


async def too_slow_to_decode(catalog: Catalog) -> Refusal:
    with patch.object(messages, "CPU_S", 0.02):
        return await hostile("bmp-runs-of-one")(catalog)


async def too_slow_for_a_small_picture(catalog: Catalog) -> Refusal:
    with patch.object(messages, "SMALL_CPU_S", 0.01):
        return await hostile("bmp-deltas-of-nothing", 250_000)(catalog)


async def too_many_commas(catalog: Catalog) -> Refusal:
    async with server(catalog, max_body_bytes=1_000_000) as (client, _, _):
        body = b'{"image": "", "a": [' + b"1," * 50_000 + b"0]}"
        return refusal_of(await client.post(PREDICT, content=body, headers={"content-type": "application/json"}))


async def too_many_brackets(catalog: Catalog) -> Refusal:
    async with server(catalog, max_body_bytes=1_000_000) as (client, _, _):
        body = b'{"image": [' + b"[]," * 50_000 + b"0]}"
        return refusal_of(await client.post(PREDICT, content=body, headers={"content-type": "application/json"}))


async def too_many_bytes_held(catalog: Catalog) -> Refusal:
    async with server(catalog) as (_, _, app):
        traffic = traffic_of(Settings(max_held_bytes=10, max_body_bytes=10), app)
        upload = Upload(traffic, app, 20)
        upload.send(bytes(20), more=False)
        return await refusal_of_upload(upload)


async def too_long(catalog: Catalog, **changes: Any) -> Refusal:
    async with server(catalog, **changes) as (client, own, _):
        stick(own)
        return refusal_of(await client.post(PREDICT, content=jpeg(), headers={"x-request-timeout-ms": "60000"}))


async def too_long_by_default(catalog: Catalog) -> Refusal:
    async with server(catalog, request_timeout_ms=200, max_timeout_ms=60_000) as (client, own, _):
        stick(own)
        return refusal_of(await client.post(PREDICT, content=jpeg()))


async def too_long_at_most(catalog: Catalog) -> Refusal:
    return await too_long(catalog, request_timeout_ms=200, max_timeout_ms=300)


async def an_upload_that_stalls(catalog: Catalog) -> Refusal:
    async with server(catalog) as (_, _, app):
        upload = Upload(traffic_of(Settings(upload_stall_ms=20), app), app, 1_000)
        return await refusal_of_upload(upload)


async def an_upload_that_trickles(catalog: Catalog) -> Refusal:
    async with server(catalog) as (_, _, app):
        settings = Settings(upload_stall_ms=50, min_upload_bytes_per_s=1_000_000)
        upload = Upload(traffic_of(settings, app), app, 10_000)
        while not upload.sent:
            upload.send(b"x")
            await asyncio.sleep(0.005)
        return await refusal_of_upload(upload)


async def an_upload_without_end(catalog: Catalog) -> Refusal:
    async with server(catalog) as (_, _, app):
        upload = Upload(traffic_of(Settings(upload_timeout_ms=50), app), app, 100_000)
        while not upload.sent:
            upload.send(bytes(1_000))
            await asyncio.sleep(0.005)
        return await refusal_of_upload(upload)


async def another_host(catalog: Catalog) -> Refusal:
    async with server(catalog, allowed_hosts=("sightline.example",)) as (client, _, _):
        return refusal_of(await client.get("/v1/models"))


async def a_head_too_large(catalog: Catalog) -> Refusal:
    connection, transport = a_connection(Settings(max_header_bytes=1024))
    connection.data_received(b"GET / HTTP/1.1\r\nx: " + b"x" * 2_000)
    return transport.refusal()


async def too_many_headers(catalog: Catalog) -> Refusal:
    connection, transport = a_connection(Settings())
    connection.data_received(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 150)
    return transport.refusal()


async def a_head_that_does_not_come(_: Catalog) -> None:
    connection, transport = a_connection(Settings(header_timeout_ms=10))
    connection.data_received(b"GET / HT")
    await until_closed(transport)


async def too_many_ahead(_: Catalog) -> None:
    connection, transport = a_connection(Settings())
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    await until_closed(transport)


async def too_far_behind(_: Catalog) -> Refusal:
    connection, transport = a_connection(Settings(max_lag_ms=10))
    connection.context.lag.watch()
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 (a loop that is busy)
    connection.data_received(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0)
    head, _, body = transport.written.partition(b"\r\n\r\n")
    connection.connection_lost(None)
    return int(head[9:12]), orjson.loads(body)["code"]


async def too_many_connections(_: Catalog) -> Refusal:
    connection, _first = a_connection(Settings(max_connections=1))
    _, transport = a_connection(Settings(max_connections=1), beside=connection)
    return transport.refusal()


async def too_many_connections_of_one_address(_: Catalog) -> Refusal:
    settings = Settings(max_connections_per_client=2)
    first, _first = a_connection(settings, peer="10.0.0.1")
    a_connection(settings, beside=first, peer="10.0.0.1")
    a_connection(settings, beside=first, peer="10.0.0.2")
    _, transport = a_connection(settings, beside=first, peer="10.0.0.1")
    return transport.refusal()


async def a_connection_that_lies_idle(_: Catalog) -> None:
    connection, transport = a_connection(Settings(keep_alive_ms=20), respond)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await until_closed(transport)


async def an_answer_that_nobody_reads(_: Catalog) -> None:
    connection, transport = a_connection(Settings(write_stall_ms=10))
    transport.unread = 100_000
    connection.pause_writing()
    await until_closed(transport)


async def an_answer_read_too_slowly(_: Catalog) -> None:
    connection, transport = a_connection(Settings(write_stall_ms=10, min_read_bytes_per_s=1_000_000))
    transport.unread = 100_000
    connection.pause_writing()
    while not transport.closed.is_set():
        await asyncio.sleep(0.005)
        transport.unread -= 1


async def too_late_for_the_end(catalog: Catalog) -> Refusal:
    async with server(catalog, shutdown_notice_ms=0, shutdown_timeout_ms=50) as (_, own, app):
        traffic = traffic_of(own.settings, app)
        upload = Upload(traffic, app, 1_000)
        await asyncio.sleep(0.01)
        running = uvicorn.Server(uvicorn.Config(app))
        running.servers = []
        Shutdown(context_of(traffic, own), running).begin()
        refusal = await refusal_of_upload(upload)
        while not running.should_exit:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return refusal


RUN_INTO: dict[str, Callable[[Catalog], Awaitable[Refusal | None]]] = {
    "max_body_bytes": too_many_bytes_in_a_body,
    "max_pixels": too_many_pixels,
    "max_images": too_many_images,
    "queue_limit": a_full_queue,
    "explanations waiting, per model version": too_many_explanations,
    "pictures of over 6,250,000 pixels waiting (of a JPEG's a quarter counts)": too_many_large_pictures,
    "no plain JPEG or PNG, of up to 250,000 pixels and 262,144 bytes, waiting": too_many_small_pictures,
    "larger ones waiting, below those above": too_many_pictures_apart,
    "pixels along one side of a picture": hostile("png-longer-column"),
    "seconds of a processor to decode one of up to that size": too_slow_for_a_small_picture,
    "seconds of a processor to decode a larger one": too_slow_to_decode,
    "bytes of memory to decode such a picture, beyond 16 for each pixel": hostile("tiff-one-tile-of-900-megapixels"),
    "segments of a JPEG before its pixels": hostile("jpeg-app-segments"),
    "bytes of filling between them": hostile("jpeg-filling"),
    "scans of a JPEG": hostile("jpeg-runs-in-a-thumbnail"),
    "chunks of a PNG": hostile("png-empty-chunks"),
    "chunks of a WebP": hostile("webp-empty-chunks"),
    "blocks of a GIF before its pixels": hostile("gif-comments-of-a-byte"),
    "entries in the first directory of a TIFF": hostile("tiff-entries-of-shorts"),
    "strips or tiles of a TIFF": hostile("tiff-tiles", 600_000),
    "run-length encoded pixels of a BMP": hostile("bmp-ten-megapixels-of-nothing"),
    "bytes that they are in": hostile("bmp-runs-of-one", 1_100_000),
    "boxes of an AVIF or HEIC around the size": hostile("avif-sides"),
    "max_lag_ms": too_far_behind,
    "max_held_bytes": too_many_bytes_held,
    "request_timeout_ms": too_long_by_default,
    "max_timeout_ms": too_long_at_most,
    "upload_stall_ms": an_upload_that_stalls,
    "min_upload_bytes_per_s": an_upload_that_trickles,
    "upload_timeout_ms": an_upload_without_end,
    "allowed_hosts": another_host,
    "max_header_bytes": a_head_too_large,
    "headers of a request": too_many_headers,
    "header_timeout_ms": a_head_that_does_not_come,
    "requests sent ahead on one connection": too_many_ahead,
    "max_connections": too_many_connections,
    "brackets of JSON, beyond those of nested pixels": too_many_brackets,
    "commas of JSON, beyond those of pixels": too_many_commas,
    "max_connections_per_client": too_many_connections_of_one_address,
    "keep_alive_ms": a_connection_that_lies_idle,
    "write_stall_ms": an_answer_that_nobody_reads,
    "min_read_bytes_per_s": an_answer_read_too_slowly,
    "shutdown_timeout_ms": too_late_for_the_end,
}


def runs_into(limit: Limit) -> Callable[[Catalog], Awaitable[Refusal | None]]:
    return RUN_INTO[limit.setting if limit.is_settable else limit.what]


def rows() -> list[Any]:
    """Every limit; to fill a queue of pictures that are decoded apart takes more than a second."""
    slow = {too_many_pictures_apart: pytest.mark.slow}
    return [pytest.param(limit, marks=slow.get(runs_into(limit), ()), id=limit.what) for limit in LIMITS]


@pytest.mark.parametrize("limit", rows())
async def test_beyond_a_limit_the_answer_is_the_one_of_the_table(limit: Limit, one_version: Catalog) -> None:
    async with asyncio.timeout(30):
        answer = await runs_into(limit)(one_version)
    kind: type[SightlineError] | None = limit.error
    assert answer == (None if kind is None else (kind.status, kind.code))


def test_the_page_of_the_documentation_is_the_table_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == limits_page(), "run `make docs`"


def test_every_row_has_a_default_and_a_status() -> None:
    for row in describe():
        assert row.default
        assert row.status in ("cut off", "408", "413", "421", "422", "429", "431", "503", "504")


def test_limits_on_pictures_are_those_of_the_decoder() -> None:
    assert next(limit.error for limit in LIMITS if limit.setting == "max_pixels") is ImageTooLarge
