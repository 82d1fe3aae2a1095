from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from service.api.browsers.page import PATHS

pytestmark = pytest.mark.anyio

WEB = Path(__file__).parents[4] / "service" / "web"
MOST_BYTES_SENT = 40_000  # of the page and all its files but the sample images


async def test_the_page_comes_with_a_policy_that_allows_nothing_inline_and_nothing_foreign(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("path", sorted(PATHS))
async def test_the_pages_files_come_from_this_server_with_their_types(client: httpx.AsyncClient, path: str) -> None:
    kinds = {
        ".css": "text/css",
        ".js": "javascript",
        ".svg": "image/svg+xml",
        ".jpg": "image/jpeg",
        ".html": "text/html",
    }
    answer = await client.get(path)
    assert answer.status_code == 200
    assert kinds[Path(path).suffix or ".html"] in answer.headers["content-type"]


async def test_the_whole_page_is_sent_in_few_bytes_and_not_again_while_it_is_the_same(
    client: httpx.AsyncClient,
) -> None:
    sizes = {}
    for path in sorted(PATHS - {"/web/page.html"}):
        async with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
            sizes[path] = sum([len(part) async for part in answer.aiter_raw()])
        if path.startswith("/web/"):
            known = {"if-none-match": answer.headers["etag"]}
            assert ((again := await client.get(path, headers=known)).status_code, again.content) == (304, b"")
            plain = await client.get(path, headers={"accept-encoding": "identity"})
            assert ("content-encoding" in plain.headers, plain.headers["vary"]) == (False, "Accept-Encoding")
    assert sum(size for path, size in sizes.items() if not path.endswith(".jpg")) <= MOST_BYTES_SENT, sizes


def test_every_module_and_file_that_the_page_names_is_there() -> None:
    for file in WEB.rglob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', file.read_text()):
            assert (file.parent / name).is_file(), (file.name, name)
    for name in re.findall(r'(?:src|href)="(web/[^"]+)"', (WEB / "page.html").read_text()):
        assert (WEB.parent / name).is_file(), name


def test_nothing_in_the_page_would_need_an_exception_of_its_policy() -> None:
    for file in (*WEB.rglob("*.js"), *WEB.rglob("*.html")):
        assert not re.search(r"\beval\(|new Function|innerHTML|\son[a-z]+=|<style|style=|<script>", file.read_text()), (
            file
        )
