"""What holds whatever comes: in the batcher in any order of events, in the parser for any bytes in any pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from classifier.card import InputSpec
from classifier.errors import SightlineError
from service.api.bodies import read_images, receive_image
from service.api.oip import protocol, tensors
from service.errors import BodyTooLarge, MalformedRequest, QueueFull
from service.inference.batching import Batcher, BatchScheduler
from tests.service.running_batches import batches_of

pytestmark = pytest.mark.slow

SHORT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 99)),
        st.tuples(st.just("hang up"), st.integers(0, 40)),
        st.tuples(st.just("wait"), st.just(0)),
    ),
    max_size=60,
)


class Network:
    """Answers ten times the item; fails on multiples of `poison`, and takes another time for each batch."""

    def __init__(self, poison: int) -> None:
        self.poison = poison
        self.batches: list[list[int]] = []

    async def forward(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        for _ in range(len(items) % 3):
            await asyncio.sleep(0)
        if any(item % self.poison == 0 for item in items):
            raise RuntimeError("a poison item")
        return [item * 10 for item in items]


Waiting = list[tuple[int, asyncio.Future[int]]]


async def played(events: Sequence[tuple[str, int]], network: Network, limits: dict[str, int], closes: bool) -> None:
    batcher: Batcher[int, int] = Batcher(batches_of(network.forward), BatchScheduler(2), **limits)  # type: ignore[arg-type]
    waiting = await happened(events, batcher, limits["queue_limit"])
    if closes:
        await batcher.close()
    if waiting:
        _, unanswered = await asyncio.wait([row for _, row in waiting], timeout=5)
        assert not unanswered
    for item, row in waiting:
        if not row.cancelled():
            error = row.exception()
            assert isinstance(error, SightlineError) if error else row.result() == item * 10
            assert closes or bool(error) == (item % network.poison == 0)  # a poison item's neighbours are answered
    await batcher.close()


async def happened(events: Sequence[tuple[str, int]], batcher: Batcher[int, int], queue_limit: int) -> Waiting:
    waiting: Waiting = []
    for event, number in events:
        if event == "submit":
            try:
                waiting.append((number, batcher.submit(number, asyncio.get_running_loop().time() + 60)))
            except QueueFull:
                assert batcher.waiting == queue_limit
        elif event == "hang up" and number < len(waiting):
            waiting[number][1].cancel()
        else:
            await asyncio.sleep(0)
        assert batcher.waiting <= queue_limit
    return waiting


@SHORT
@given(
    events=EVENTS,
    poison=st.integers(2, 20),
    max_batch=st.integers(1, 5),
    room=st.integers(0, 20),
    max_in_flight=st.integers(1, 3),
    closes=st.booleans(),
)
def test_every_item_gets_its_own_row_or_an_error_of_ours_and_limits_hold(
    events: list[tuple[str, int]], poison: int, max_batch: int, room: int, max_in_flight: int, closes: bool
) -> None:
    network = Network(poison)
    limits = {"max_batch": max_batch, "queue_limit": max_batch + room, "max_in_flight": max_in_flight}
    asyncio.run(played(events, network, limits, closes))
    assert all(1 <= len(batch) <= max_batch for batch in network.batches)


KINDS = (
    "multipart/form-data; boundary=x",
    "application/json",
    "application/octet-stream",
    "image/png",
    "text/html",
    "",
)
PIECES = st.lists(st.binary(max_size=40), max_size=8)


def a_request(kind: str, pieces: Sequence[bytes]) -> Request:
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    coming = iter(messages)

    async def receive() -> Any:
        return next(coming, {"type": "http.disconnect"})

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode("latin-1"))]}, receive)


FRAGMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"--x",
                b"--x--",
                b"\r\n",
                b"\r",
                b"--",
                b'Content-Disposition: form-data; name="image"; filename="a"',
                b":",
            ]
        ),
        st.sampled_from([b'{"image":', b'"', b"}", b"[", b"QUJD", b"null", b"\\u", b"\xff", b"\x00"]),
        st.binary(max_size=20),
    ),
    max_size=15,
)


async def status_of(reading: Coroutine[Any, Any, object]) -> int:
    try:
        await reading
    except SightlineError as error:
        return error.status
    return 200


@SHORT
@given(kind=st.one_of(st.sampled_from(KINDS), st.text(st.characters(max_codepoint=255), max_size=30)), pieces=FRAGMENTS)
def test_any_body_is_an_image_or_an_error_of_ours(kind: str, pieces: list[bytes]) -> None:
    for read in (lambda r: receive_image(r, 200), lambda r: read_images(r, 200, 3)):
        assert asyncio.run(status_of(read(a_request(kind, pieces)))) < 500


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-300, 300), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=13), st.dictionaries(st.sampled_from(["content_type", "binary_data_size"]), inner)
    ),
    max_leaves=40,
)
PIXELS = {"name": "image", "shape": [1, 2, 2, 3], "datatype": "UINT8"}
FILES = {"name": "image", "shape": [2], "datatype": "BYTES"}
RIGHT = st.sampled_from(
    [
        (PIXELS | {"data": [7] * 12}, b""),
        (PIXELS | {"datatype": "FP32", "data": [[[[0.5] * 3] * 2] * 2]}, b""),
        (PIXELS | {"parameters": {"binary_data_size": 12}}, bytes(12)),
        (FILES | {"parameters": {"binary_data_size": 16}}, b"\4\0\0\0file" * 2),
        (FILES | {"data": ["R0lGODlhAAAA"] * 2}, b""),
    ]
)
FAULTS = st.dictionaries(st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), JSON, max_size=2)


@SHORT
@given(right=RIGHT, faults=FAULTS, more=st.one_of(st.just(b""), st.binary(max_size=3)), cut=st.sampled_from([0, 0, -1]))
def test_any_inference_request_is_images_of_the_cards_size_or_an_error_of_ours(
    right: tuple[dict[str, Any], bytes], faults: dict[str, Any], more: bytes, cut: int
) -> None:
    tensor, raw = right
    head = json.dumps({"inputs": [tensor | faults]}).encode("utf-8", "surrogatepass")
    spec = InputSpec(height=2, width=2, channels=3)
    try:
        images = tensors.read(protocol.parse(head + raw + more, len(head) + cut), spec, max_images=3)
    except (MalformedRequest, BodyTooLarge):
        assert faults or more or cut
        return
    assert 1 <= len(images) <= 3
    assert all(isinstance(image, bytes) or image.shape == spec.shape for image in images)


@SHORT
@given(files=st.lists(st.binary(max_size=60), min_size=1, max_size=5), cuts=st.lists(st.integers(1, 30), max_size=40))
def test_files_of_a_form_come_back_whatever_is_in_them_and_however_they_travel(
    files: list[bytes], cuts: list[int]
) -> None:
    boundary = "a-boundary-that-is-in-no-file-of-sixty-bytes-because-it-is-longer-than-that"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="f"\r\n\r\n'.encode()
    body = b"".join(head + file + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()
    pieces, at = [], 0
    for cut in [*cuts, len(body)]:
        pieces.append(body[at : at + cut])
        at += cut
    request = a_request(f"multipart/form-data; boundary={boundary}", pieces)
    assert asyncio.run(read_images(request, 100_000, 5)) == files
