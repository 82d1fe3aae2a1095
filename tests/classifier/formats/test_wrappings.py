from __future__ import annotations

import base64

import pytest

from classifier.errors import NotAnImage
from classifier.formats import identify
from tests.pictures import noise, png

SENT = {
    "JSON": (b'\n {"image": "AAAA"}', "Content-Type: application/json"),
    "a form": (b'--x\r\nContent-Disposition: form-data; name="image"', "multipart/form-data"),
    "base64": (base64.b64encode(png(noise(8, 8))), "base64; send it as"),
    "a data: URL": (b"data:image/png;base64,AAAA", "base64; send it as"),
    "curl without a file": (b"image=@cat.jpg", "-F image=@cat.jpg"),
    "a URL": (b"https://example.com/cat.jpg", "none is ever fetched"),
    "a URL in a form's field": (b"image=https%3A%2F%2Fexample.com%2Fcat.jpg", "none is ever fetched"),
    "a web page": (b"<!DOCTYPE html><title>cat", "web page"),
    "an SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "a PDF": (b"%PDF-1.7\n", "PDF"),
    "a video": (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ", "video"),
    "text": (b"hello, this is no picture", "25 bytes beginning 68 65"),
    "nothing": (b"", "no bytes at all"),
}


@pytest.mark.parametrize(("body", "says"), SENT.values(), ids=SENT)
def test_what_comes_in_place_of_an_image_is_named_with_what_to_do(body: bytes, says: str) -> None:
    with pytest.raises(NotAnImage, match=r"expected a JPEG, PNG.* AVIF") as refused:
        identify(body)
    assert says in str(refused.value)
