"""What comes in the place of an image file: the usual mistakes of those who send one, by their first bytes."""

from __future__ import annotations

import re

_FIRST = 512  # bytes that are looked at

_REMEDIES = {
    rb"[{\[]": "JSON; a request with JSON needs the header `Content-Type: application/json`",
    rb"--[^\r\n]{1,70}\r?\ncontent-disposition": "a form; a request with a form needs the header "
    "`Content-Type: multipart/form-data; boundary=…`",
    # JPEG, PNG, GIF, WebP and TIFF in base64, bare or in a data: URL
    rb"data:|/9j/|iVBORw0KGgo|R0lGOD|UklGR|SUkq|TU0AK": 'base64; send it as {"image": "…"} with `Content-Type: '
    "application/json`, or send the file itself",
    rb"image=@": "the name of a file; curl sends the file with -F image=@cat.jpg or --data-binary @cat.jpg",
    rb"(image=)?(https?|file|ftp|s3)(:|%3a)(/|%2f){2}": "a URL, and none is ever fetched; send the file itself",
    rb"<(!doctype html|html)": "a web page, perhaps the one around the image; send the image's own file",
    rb"(<\?xml[^>]*>\s*)?<svg": "an SVG drawing, which has no pixels; save it as PNG, and send that",
    rb"%PDF-": "a PDF document; save the image in it as JPEG or PNG, and send that",
    rb".{4}ftyp": "a video; save one picture of it as JPEG or PNG, and send that",
}
_KNOWN = [(re.compile(rb"\s*" + begins, re.IGNORECASE | re.DOTALL), remedy) for begins, remedy in _REMEDIES.items()]


def remedy_for(body: bytes) -> str:
    """What came, and how to send it so that it is read; "" where that is not known."""
    return next((remedy for begins, remedy in _KNOWN if begins.match(body, 0, _FIRST)), "")
