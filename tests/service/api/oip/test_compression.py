from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from service.api.oip.compression import MIN_BYTES, expand, fold, is_compressed
from service.errors import BodyTooLarge, MalformedRequest, UnsupportedMediaType

TEXT = b"Dear network, what is on this picture? " * 100
FOLD = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-gzip", " GZip "])
def test_a_body_comes_out_as_it_was_folded(encoding: str) -> None:
    folded = gzip.compress(TEXT) if "g" in encoding.lower()[:4] else zlib.compress(TEXT)
    assert expand(folded, encoding, len(TEXT)) == TEXT


@pytest.mark.parametrize(("encoding", "compressed"), [("", False), ("identity", False), ("gzip", True), ("br", True)])
def test_only_an_encoded_body_needs_unfolding(encoding: str, compressed: bool) -> None:
    assert is_compressed(encoding) is compressed


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_refused_without_its_contents_ever_being_held(encoding: str) -> None:
    bomb = FOLD[encoding](bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(BodyTooLarge, match="at most 1,000,000 bytes"):
        expand(bomb, encoding, 1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_the_limit_itself_may_be_reached() -> None:
    assert len(expand(gzip.compress(bytes(1000)), "gzip", 1000)) == 1000
    with pytest.raises(BodyTooLarge):
        expand(gzip.compress(bytes(1001)), "gzip", 1000)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_another_encoding_is_refused_naming_ours(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="gzip or deflate"):
        expand(TEXT, encoding, 10_000)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (TEXT, "not gzip"),
        (b"", "ends too early"),
        (gzip.compress(TEXT)[:-9], "ends too early"),
        (gzip.compress(TEXT) + gzip.compress(TEXT), "bytes follow the end"),
        (gzip.compress(TEXT)[:-8] + bytes(8), "not gzip"),
    ],
    ids=["plain text", "nothing", "cut off", "two members", "wrong checksum"],
)
def test_a_damaged_body_is_refused_saying_how(body: bytes, said: str) -> None:
    with pytest.raises(MalformedRequest, match=said):
        expand(body, "gzip", 10_000)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("deflate;q=1.0, gzip; q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("br", None),
        ("identity", None),
        ("", None),
    ],
)
def test_an_answer_is_folded_as_the_caller_accepts(accepted: str, chosen: str | None) -> None:
    body, headers = fold(TEXT, accepted)
    assert headers.get("content-encoding") == chosen
    assert (expand(body, chosen, 10_000) if chosen else body) == TEXT


def test_a_small_answer_stays_as_it_is() -> None:
    assert fold(bytes(MIN_BYTES - 1), "gzip") == (bytes(MIN_BYTES - 1), {})
