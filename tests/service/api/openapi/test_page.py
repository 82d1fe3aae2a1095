"""`/docs` and its files, without a browser; tests/e2e/clients/test_docs_page.py opens it in one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest

from service.api.openapi import page

pytestmark = pytest.mark.anyio

FOLDER = Path(page.__file__).parent / "reference"
VENDORED = json.loads((FOLDER / "vendored.json").read_text(encoding="utf-8"))


def test_the_kept_library_is_the_one_that_was_released() -> None:
    digest = hashlib.sha384((FOLDER / VENDORED["file"]).read_bytes()).digest()
    assert base64.b64encode(digest).decode() == VENDORED["sha384"]
    assert VENDORED["version"] in VENDORED["file"]
    licence = (FOLDER / f"rapidoc-{VENDORED['version']}.LICENSE.txt").read_text(encoding="utf-8")
    assert VENDORED["licence"] in licence


async def test_the_page_asks_nobody_else_and_allows_nothing_inline(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.search(r"https?://|\sstyle=|onclick|<script>", answer.text)
    assert "'unsafe" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_every_file_of_the_page_is_what_the_page_says_it_is(client: httpx.AsyncClient) -> None:
    html = (await client.get("/docs")).text
    named = dict(re.findall(r'"docs/([^"]+)" integrity="sha384-([^"]+)"', html))
    assert {f"/docs/{name}" for name in named} | {"/docs"} == page.PATHS
    for name, digest in named.items():
        answer = await client.get(f"/docs/{name}")
        assert base64.b64encode(hashlib.sha384(answer.content).digest()).decode() == digest
        again = await client.get(f"/docs/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_the_library_travels_compressed_to_who_can_read_that(client: httpx.AsyncClient) -> None:
    path = f"/docs/{VENDORED['file']}"
    plain = await client.get(path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    async with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
        sent = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(sent) == plain.content
    assert len(sent) < len(plain.content) / 3


async def test_what_is_no_file_of_the_page_is_not_found(client: httpx.AsyncClient) -> None:
    for name in ("vendored.json", "page.html", "..%2fpage.py"):
        assert (await client.get(f"/docs/{name}")).status_code == 404
