"""Every limit that a caller can run into: the setting, its default, and what is answered beyond it.

The documentation's table is made from here, and tests run into each of them.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from classifier.decode_process.messages import (
    BYTES_PER_PIXEL,
    CPU_S,
    MEMORY_BYTES,
    SMALL_BYTES,
    SMALL_CPU_S,
    SMALL_PIXELS,
)
from classifier.errors import ImageTooLarge, SightlineError, TooComplexImage, TooMuchToDecode, TooSlowToDecode
from classifier.formats import bmp, gif, heif, jpeg, png, tiff, webp
from classifier.formats.outline import MOST_SIDE
from service.api.oip.tensors import OTHER_COMMAS
from service.api.traffic import MOST_HEADERS, MOST_PIPELINED
from service.api.unfolding import MOST_BRACKETS
from service.errors import (
    BodyTooLarge,
    Closing,
    DeadlinePassed,
    DecodersBusy,
    HeadTooLarge,
    HostNotAllowed,
    Overloaded,
    QueueFull,
    TooManyBytes,
    TooManyConnections,
    UploadTooSlow,
)
from service.inference.classifier import EXPLANATIONS_WAITING
from service.inference.decode_pool import APART_WAITING, BESIDE_OTHERS_PIXELS, LARGE_WAITING
from service.settings import PREFIX, Settings


class Limit(NamedTuple):
    """`setting` is a field of Settings, or a fixed value; `error` is None where the connection is cut off."""

    what: str
    setting: str
    error: type[SightlineError] | None

    @property
    def is_settable(self) -> bool:
        return self.setting in _DEFAULTS


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Settings)}

LIMITS = (
    Limit("bytes of a body, as sent and unfolded", "max_body_bytes", BodyTooLarge),
    Limit("pixels of a picture, by its header", "max_pixels", ImageTooLarge),
    Limit("pixels along one side of a picture", f"{MOST_SIDE:,}", ImageTooLarge),
    Limit("images in one predict-batch or infer", "max_images", BodyTooLarge),
    Limit("images being decoded or waiting, per model version", "queue_limit", QueueFull),
    Limit("explanations waiting, per model version", f"{EXPLANATIONS_WAITING}", QueueFull),
    Limit("milliseconds that the event loop is behind", "max_lag_ms", Overloaded),
    Limit(
        f"pictures of over {BESIDE_OTHERS_PIXELS:,} pixels waiting (of a JPEG's a quarter counts)",
        f"{LARGE_WAITING}",
        DecodersBusy,
    ),
    Limit(
        f"no plain JPEG or PNG, of up to {SMALL_PIXELS:,} pixels and {SMALL_BYTES:,} bytes, waiting",
        f"{APART_WAITING}",
        DecodersBusy,
    ),
    Limit("larger ones waiting, below those above", f"{APART_WAITING}", DecodersBusy),
    Limit("seconds of a processor to decode one of up to that size", f"{SMALL_CPU_S}", TooSlowToDecode),
    Limit("seconds of a processor to decode a larger one", f"{CPU_S}", TooSlowToDecode),
    Limit(
        f"bytes of memory to decode such a picture, beyond {BYTES_PER_PIXEL} for each pixel",
        f"{MEMORY_BYTES:,}",
        TooMuchToDecode,
    ),
    Limit("segments of a JPEG before its pixels", f"{jpeg.MOST_SEGMENTS:,}", TooComplexImage),
    Limit("bytes of filling between them", f"{jpeg.MOST_FILLING:,}", TooComplexImage),
    Limit("scans of a JPEG", f"{jpeg.MOST_SCANS:,}", TooComplexImage),
    Limit("chunks of a PNG", f"{png.MOST_CHUNKS:,}", TooComplexImage),
    Limit("chunks of a WebP", f"{webp.MOST_CHUNKS:,}", TooComplexImage),
    Limit("blocks of a GIF before its pixels", f"{gif.MOST_SUB_BLOCKS:,}", TooComplexImage),
    Limit("entries in the first directory of a TIFF", f"{tiff.MOST_ENTRIES:,}", TooComplexImage),
    Limit("strips or tiles of a TIFF", f"{tiff.MOST_STRIPS:,}", TooComplexImage),
    Limit("run-length encoded pixels of a BMP", f"{bmp.MOST_RLE_PIXELS:,}", TooComplexImage),
    Limit("bytes that they are in", f"{bmp.MOST_RLE_BYTES:,}", TooComplexImage),
    Limit("boxes of an AVIF or HEIC around the size", f"{heif.MOST_BOXES:,}", TooComplexImage),
    Limit("brackets of JSON, beyond those of nested pixels", f"{MOST_BRACKETS}", BodyTooLarge),
    Limit("commas of JSON, beyond those of pixels", f"{OTHER_COMMAS:,}", BodyTooLarge),
    Limit("bytes of all bodies held at once, also unfolded and parsed", "max_held_bytes", TooManyBytes),
    Limit(
        "milliseconds for a request after its upload, unless it says otherwise", "request_timeout_ms", DeadlinePassed
    ),
    Limit("milliseconds that `X-Request-Timeout-Ms` gets at most", "max_timeout_ms", DeadlinePassed),
    Limit("milliseconds without a byte of a body", "upload_stall_ms", UploadTooSlow),
    Limit("bytes per second of a long upload, at least", "min_upload_bytes_per_s", UploadTooSlow),
    Limit("milliseconds for the upload of a body", "upload_timeout_ms", UploadTooSlow),
    Limit("hosts that a Host header may name", "allowed_hosts", HostNotAllowed),
    Limit("bytes of a request's head", "max_header_bytes", HeadTooLarge),
    Limit("headers of a request", f"{MOST_HEADERS}", HeadTooLarge),
    Limit("milliseconds for a request's head", "header_timeout_ms", None),
    Limit("requests sent ahead on one connection", f"{MOST_PIPELINED}", None),
    Limit("connections at once", "max_connections", TooManyConnections),
    Limit("connections at once of one address, not of proxies", "max_connections_per_client", TooManyConnections),
    Limit("milliseconds without a request on a connection", "keep_alive_ms", None),
    Limit("milliseconds that an answer may lie unread", "write_stall_ms", None),
    Limit("bytes per second of a long answer read, at least", "min_read_bytes_per_s", None),
    Limit("milliseconds after the shutdown notice for what was accepted", "shutdown_timeout_ms", Closing),
)


class Row(NamedTuple):
    """One line of the table, as text."""

    what: str
    setting: str
    default: str
    status: str
    code: str


def describe() -> list[Row]:
    """The table of the documentation."""
    return [_row(limit) for limit in LIMITS]


def _row(limit: Limit) -> Row:
    setting = f"`{PREFIX}{limit.setting.upper()}`" if limit.is_settable else "fixed"
    default = _shown(_DEFAULTS[limit.setting]) if limit.is_settable else limit.setting
    if limit.error is None:
        return Row(limit.what, setting, default, "cut off", "")
    return Row(limit.what, setting, default, str(limit.error.status), f"`{limit.error.code}`")


def _shown(default: object) -> str:
    if default == ():
        return "loopback's without keys there, else any"
    return f"{default:,.0f}" if isinstance(default, int | float) and default else "as the request timeout"
