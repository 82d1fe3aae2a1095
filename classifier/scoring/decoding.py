"""What a decode process does with a few images: read and decode each, and say what is wrong with those that fail."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing import connection, parent_process
from typing import NamedTuple

import numpy as np

from classifier.card import InputSpec
from classifier.decode_process import LONGEST_S, DecodeProcesses
from classifier.errors import SightlineError, UnreadableFile
from classifier.images import MAX_PIXELS, OpenedImage, Pixels
from classifier.scoring.sources import Reader


class Order(NamedTuple):
    """An image by its name. `body` is None where the decode process reads it, `fault` why it could not be read."""

    name: str
    body: bytes | None = None
    fault: str | None = None


class Sight(NamedTuple):
    """What is known of one image without a network: its size in pixels, or what is wrong with it."""

    name: str
    width: int | None = None
    height: int | None = None
    code: str | None = None
    detail: str | None = None


class Decoded(NamedTuple):
    """Some images in order. `pixels`, uint8 [n, height, width, channels], are those of the n without a fault."""

    sights: list[Sight]
    pixels: Pixels


def begin() -> None:
    """Of a new decode process: leave Ctrl-C to the process that started it, and end with that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def decode(read: Reader, spec: InputSpec, orders: Sequence[Order]) -> Decoded:
    """Read and decode images to a network's input. What fails has its reason in place of pixels."""
    return _decoded(read, spec, orders, lambda opened: opened.is_plain)


def decode_apart(read: Reader, spec: InputSpec, orders: Sequence[Order]) -> Decoded:
    """The same, each in a process with limits on its time and memory, whatever it looks like."""
    return _decoded(read, spec, orders, lambda opened: False)


def _decoded(
    read: Reader, spec: InputSpec, orders: Sequence[Order], may_be_here: Callable[[OpenedImage], bool]
) -> Decoded:
    sights, pixels = [], []
    for order in orders:
        try:
            opened = OpenedImage(_body(read, order), spec, MAX_PIXELS)
            here = may_be_here(opened)
            pixels.append(opened.decode() if here else opened.decode_apart(_processes(), LONGEST_S))
            sights.append(Sight(order.name, opened.width, opened.height))
        except SightlineError as error:
            sights.append(Sight(order.name, code=error.code, detail=str(error)))
    shape = (len(pixels), spec.height, spec.width, spec.channels)
    return Decoded(sights, np.stack(pixels) if pixels else np.empty(shape, np.uint8))


def _body(read: Reader, order: Order) -> bytes:
    if order.body is not None:
        return order.body
    try:
        if order.fault is not None:
            raise OSError(order.fault)
        return read(order.name)
    except OSError as error:
        raise UnreadableFile(f"cannot be read ({error.strerror or error})") from error


@cache
def _processes() -> DecodeProcesses:
    return DecodeProcesses(1)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
