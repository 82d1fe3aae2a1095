from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from service.api.browsers.page import PATHS

pytestmark = pytest.mark.anyio

WEB = Path(__file__).parents[4] / "service" / "web"
MOST_BYTES = 60_000  # of the page and all its files but the sample images


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


def test_the_page_is_small() -> None:
    sizes = {file.name: file.stat().st_size for file in WEB.rglob("*") if file.is_file() and file.suffix != ".jpg"}
    assert sum(sizes.values()) <= MOST_BYTES, sizes


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
