"""`training.datasets.fetch`: an archive appears whole and checked, or not at all. Served here, from 127.0.0.1."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.archives import cifar10_zip
from training.datasets import READERS, Cifar10, DatasetError
from training.datasets.fetch import SOURCES, ByHand, FetchError, Source, download, fetch


class _Shelf(ThreadingHTTPServer):
    """Serves `files` by path; `/cut` promises more bytes than it sends. Counts what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: _Shelf

    def do_GET(self) -> None:
        self.server.requests += 1
        body = self.server.files.get(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/archive.zip")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif body is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + 1000 * (self.path == "/cut")))
            self.send_header("Content-Encoding", "x-gzip")  # as some servers say of any .tar.gz
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf() -> Iterator[_Shelf]:
    with _Shelf() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def archive(shelf: _Shelf, tmp_path: Path) -> bytes:
    body = cifar10_zip(tmp_path / "served.zip", 4, 1).read_bytes()
    shelf.files = {"/archive.zip": body, "/cut": body}
    return body


def _source(url: str, body: bytes) -> Source:
    return Source(file="archive.zip", url=url, sha256=hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("path", ["/archive.zip", "/moved"])
def test_an_archive_is_downloaded_checked_and_readable(
    path: str, shelf: _Shelf, archive: bytes, tmp_path: Path
) -> None:
    fetched = download(_source(shelf.url + path, archive), tmp_path / "data")
    assert fetched == tmp_path / "data/archive.zip"
    assert fetched.read_bytes() == archive
    assert Cifar10().recognises(fetched)
    assert [file.name for file in fetched.parent.iterdir()] == ["archive.zip"]


def test_an_archive_that_is_there_is_not_downloaded_again(shelf: _Shelf, archive: bytes, tmp_path: Path) -> None:
    source = _source(f"{shelf.url}/archive.zip", archive)
    assert download(source, tmp_path) == download(source, tmp_path)
    assert shelf.requests == 1


def test_a_damaged_archive_is_replaced(shelf: _Shelf, archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(b"cut off")
    assert download(_source(f"{shelf.url}/archive.zip", archive), tmp_path).read_bytes() == archive


def test_another_checksum_is_an_error_and_leaves_nothing_behind(shelf: _Shelf, archive: bytes, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"expected SHA-256 [0-9a-f]{64}, what came has .* do not use it"):
        download(_source(f"{shelf.url}/archive.zip", b"something else"), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_download_that_breaks_off_is_an_error_and_leaves_nothing_behind(
    shelf: _Shelf, archive: bytes, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match="no connection, or it broke off"):
        download(_source(f"{shelf.url}/cut", archive), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_file_that_has_moved_is_an_error_with_the_status(shelf: _Shelf, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="the server answers 404 Not Found"):
        download(_source(f"{shelf.url}/gone.zip", b""), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_no_connection_is_an_error_that_says_what_to_check(shelf: _Shelf, tmp_path: Path) -> None:
    url = shelf.url
    shelf.server_close()
    with pytest.raises(FetchError, match="check the network"):
        download(_source(f"{url}/archive.zip", b""), tmp_path / "data")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"a file, where a folder should be")
    with pytest.raises(FetchError, match="cannot be written"):
        download(_source("http://127.0.0.1:9/archive.zip", b""), tmp_path / "data")


def test_what_only_account_holders_get_is_explained_until_it_is_there(tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        fetch("sign-mnist", tmp_path)
    for part in ("Kaggle account", "https://www.kaggle.com/", "sign_mnist_train.csv", str(tmp_path / "sign-mnist.zip")):
        assert part in str(caught.value)
    (tmp_path / "sign-mnist.zip").write_bytes(b"")
    assert fetch("sign-mnist", tmp_path) == tmp_path / "sign-mnist.zip"


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there are cats-vs-dogs, cifar-10, sign-mnist"):
        fetch("imagenet", tmp_path)


def test_every_public_data_set_has_a_source() -> None:
    assert SOURCES.keys() == READERS.keys() - {"folders"}


@pytest.mark.parametrize("source", [s for s in SOURCES.values() if isinstance(s, Source)], ids=lambda s: s.file)
def test_a_source_is_fetched_over_https_and_has_a_whole_checksum(source: Source) -> None:
    assert source.url.startswith("https://")
    assert source.url.endswith(source.file)
    assert len(bytes.fromhex(source.sha256)) == 32


def test_pages_for_downloads_by_hand_are_https() -> None:
    assert all(s.page.startswith("https://") for s in SOURCES.values() if isinstance(s, ByHand))
