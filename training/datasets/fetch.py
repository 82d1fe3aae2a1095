"""Download a public data set from its source, checked by SHA-256. The archive stays packed: the readers read it so."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx

from training.errors import DatasetError

_CHUNK_BYTES = 1 << 20
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)  # seconds without a byte, not for the whole download


class FetchError(DatasetError):
    """The archive could not be downloaded, or what came is not what its source published."""

    code = "fetch"
    title = "The data set cannot be fetched"


@dataclass(frozen=True)
class Source:
    """An archive anybody may download, and the SHA-256 it must have."""

    file: str
    url: str
    sha256: str


@dataclass(frozen=True)
class ByHand:
    """An archive that its source gives only to people with an account there."""

    file: str
    page: str
    needs: str
    holds: str


# Toronto publishes an MD5 only (c58f30108f718f92721af3b95e74349a) and Microsoft nothing; the SHA-256 are those that
# Keras and TensorFlow Datasets hold these downloads to.
SOURCES: dict[str, Source | ByHand] = {
    "cats-vs-dogs": Source(
        file="kagglecatsanddogs_5340.zip",
        url="https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip",
        sha256="b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
    ),
    "cifar-10": Source(
        file="cifar-10-python.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    "sign-mnist": ByHand(
        file="sign-mnist.zip",
        page="https://www.kaggle.com/datasets/datamunge/sign-language-mnist",
        needs="a Kaggle account",
        holds="sign_mnist_train.csv and sign_mnist_test.csv",
    ),
}


def fetch(name: str, to: Path) -> Path:
    """Bring the archive of data set `name` into the folder `to`; returns its path.

    One that is there already, and whole, is not downloaded again. Raises FetchError: unknown name, no connection, not
    found, wrong checksum, or a source for account holders only. The message then says what to do.
    """
    if name not in SOURCES:
        raise FetchError(f"no data set {name!r} to fetch; there are {', '.join(SOURCES)}")
    source = SOURCES[name]
    return download(source, to) if isinstance(source, Source) else _found(source, to)


def download(source: Source, to: Path) -> Path:
    """Download `source` into the folder `to`, which is made. The file appears whole and checked, or not at all."""
    target = to / source.file
    if target.is_file() and _sha256(target) == source.sha256:
        return target
    try:
        to.mkdir(parents=True, exist_ok=True)
        _download_checked(source, target)
    except OSError as error:
        raise FetchError(f"{target}: cannot be written ({error.strerror}); is there space, and may you?") from error
    return target


def _download_checked(source: Source, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as file:
            received = _receive(source.url, file)
        if received != source.sha256:
            raise FetchError(
                f"{source.url}: expected SHA-256 {source.sha256}, what came has {received}; try again, "
                "and if it differs again do not use it: the source has changed it, or something in between has"
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _receive(url: str, file: BinaryIO) -> str:
    """Write what `url` sends to `file`; returns its SHA-256."""
    from tqdm import tqdm  # here: the help of `sightline fetch` is there without the libraries that train

    digest = hashlib.sha256()
    identity = {
        "Accept-Encoding": "identity"
    }  # some servers label a .tar.gz as gzip-encoded, to be unpacked on the way
    try:
        with httpx.stream("GET", url, headers=identity, follow_redirects=True, timeout=_TIMEOUT) as reply:
            reply.raise_for_status()
            expected_bytes = int(reply.headers.get("Content-Length", 0)) or None
            with tqdm(total=expected_bytes, desc=Path(url).name, unit="B", unit_scale=True, disable=None) as progress:
                for chunk in reply.iter_raw(_CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
                    progress.update(len(chunk))
    except httpx.HTTPStatusError as error:
        status = f"{error.response.status_code} {error.response.reason_phrase}"
        raise FetchError(f"{url}: the server answers {status}; the file may have moved, look for it there") from error
    except httpx.HTTPError as error:
        raise FetchError(
            f"{url}: no connection, or it broke off ({str(error) or type(error).__name__}); check the network and try "
            "again, or download it elsewhere and put it in place by hand"
        ) from error
    return digest.hexdigest()


def _found(source: ByHand, to: Path) -> Path:
    target = to / source.file
    if target.exists():
        return target
    raise FetchError(
        f"this data set needs {source.needs} and has to be downloaded by hand: open {source.page}, press Download, "
        f"and save the zip (it holds {source.holds}) as {target}"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
