"""`training.datasets.archive`: a folder, a zip or a tar behind one face."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.archives import folder_of, tar_gz_of, zip_of
from training.datasets.archive import Archive, names_in, stem_of
from training.errors import DatasetError

FILES = {"b/2.txt": b"two", "a/1.txt": b"one", "a/10.txt": b"ten"}
NOISE = {"__MACOSX/a/._1.txt": b"", "a/.DS_Store": b"", ".git/config": b"", "a/.hidden/3.txt": b""}
PACKINGS = [folder_of, zip_of, tar_gz_of]

Pack = Callable[[Path, dict[str, bytes]], Path]


@pytest.mark.parametrize("pack", PACKINGS)
def test_names_and_bytes_do_not_depend_on_the_packing(pack: Pack, tmp_path: Path) -> None:
    with Archive(pack(tmp_path / "packed", FILES)) as archive:
        assert archive.names == ("a/1.txt", "a/10.txt", "b/2.txt")
        assert archive.read("a/10.txt") == b"ten"


@pytest.mark.parametrize("pack", PACKINGS)
def test_what_operating_systems_leave_behind_is_not_listed(pack: Pack, tmp_path: Path) -> None:
    with Archive(pack(tmp_path / "packed", FILES | NOISE)) as archive:
        assert set(archive.names) == FILES.keys()


def test_an_uncompressed_tar_is_read_too(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "plain.tar", "w") as tar:
        tar.add(folder_of(tmp_path / "files", FILES), arcname=".")
    with Archive(tmp_path / "plain.tar") as archive:
        assert set(archive.names) == FILES.keys()
        assert archive.folders == ("a/", "b/")


def test_a_zip_is_read_by_many_threads_at_once(tmp_path: Path) -> None:
    files = {f"{i}.bin": bytes([i]) * 5000 for i in range(200)}
    with Archive(zip_of(tmp_path / "many.zip", files)) as archive, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(archive.read, files)) == list(files.values())


@pytest.mark.parametrize("name", ["../escape.txt", "/etc/escape.txt", "a/../../escape.txt", "a\\..\\escape.txt"])
@pytest.mark.parametrize("pack", [zip_of, tar_gz_of])
def test_a_member_that_leads_out_of_the_archive_is_refused(pack: Pack, name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"leads out of its folder"):
        Archive(pack(tmp_path / "packed", {name: b""}))


def test_links_to_files_and_folders_are_followed_wherever_they_lead(tmp_path: Path) -> None:
    folder, elsewhere = folder_of(tmp_path / "files", FILES), folder_of(tmp_path / "elsewhere", {"x/2.txt": b"two"})
    (folder / "b/link.txt").symlink_to(folder / "a/1.txt")
    (folder / "c").symlink_to(elsewhere / "x")
    with Archive(folder) as archive:
        assert archive.read("b/link.txt") == b"one"
        assert archive.read("c/2.txt") == b"two"
        assert archive.left_out == ()


def test_links_in_a_circle_and_links_to_nothing_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "files", FILES)
    (folder / "a/again").symlink_to(folder)
    (folder / "a/self").symlink_to(folder / "a")
    (folder / "gone.txt").symlink_to(tmp_path / "nothing")
    with Archive(folder) as archive:
        assert {f.file: f.reason for f in archive.left_out} == {
            "a/again": "a link to a folder that it lies in",
            "a/self": "a link to a folder that it lies in",
            "gone.txt": "a link that leads nowhere",
        }


def test_what_systems_leave_behind_is_no_file(tmp_path: Path) -> None:
    leftovers = ("@eaDir/1.jpg/SYNO.jpg", ".DS_Store", "__MACOSX/._1.jpg", "a/Thumbs.db", "a/desktop.ini", "#recycle/1")
    files = dict.fromkeys((*leftovers, "a/1.jpg"), b"")
    for path in (folder_of(tmp_path / "files", files), zip_of(tmp_path / "files.zip", files)):
        with Archive(path) as archive:
            assert archive.names == ("a/1.jpg",)


def test_a_file_that_is_not_listed_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    with Archive(folder_of(tmp_path / "files", FILES)) as archive, pytest.raises(DatasetError, match="has no file"):
        archive.read("../secret.txt")


def test_empty_folders_are_known(tmp_path: Path) -> None:
    (tmp_path / "files/empty").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as packed:
        packed.mkdir("empty")
    for path in (tmp_path / "files", tmp_path / "files.zip"):
        with Archive(path) as archive:
            assert (archive.names, archive.folders) == ((), ("empty/",))


def test_a_path_with_nothing_there_says_how_to_get_something_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nothing is there; see `python -m training fetch`"):
        Archive(tmp_path / "missing.zip")


@pytest.mark.parametrize("body", [b"", b"not packed at all", b"PK\x03\x04 cut off", b"\x1f\x8b\x08 cut off"])
def test_a_file_that_is_no_archive_is_refused_with_its_size_or_fault(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(body)
    with pytest.raises(DatasetError, match=r"expected a folder, a zip or a tar|cannot be opened"):
        Archive(path)
    assert names_in(path) == ()


def test_a_zip_with_backslashes_from_windows_is_read(tmp_path: Path) -> None:
    with Archive(zip_of(tmp_path / "windows.zip", {"photos\\cup\\1.jpg": b"one"})) as archive:
        assert archive.read("photos/cup/1.jpg") == b"one"


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "secret.zip", {"a.txt": b"secret"})
    body = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(header) + flags] |= 1
    path.write_bytes(body)
    with Archive(path) as archive, pytest.raises(DatasetError, match=r"a\.txt cannot be read .*encrypted"):
        archive.read("a.txt")


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "damaged.zip", {"a.txt": b"content of a"})
    path.write_bytes(path.read_bytes().replace(b"content of a", b"content of b"))
    with Archive(path) as archive, pytest.raises(DatasetError, match=r"a\.txt cannot be read .*CRC"):
        archive.read("a.txt")


def test_a_tar_gz_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = tar_gz_of(tmp_path / "cut.tar.gz", {"a.bin": os.urandom(50_000)})
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(DatasetError):
        Archive(path)


@pytest.mark.parametrize(
    ("file", "stem"), [("photos", "photos"), ("photos.zip", "photos"), ("c.tar.gz", "c"), ("v1.2", "v1.2")]
)
def test_the_stem_leaves_off_the_packing_only(file: str, stem: str) -> None:
    assert stem_of(Path(file)) == stem


def test_a_folder_whose_name_is_not_utf8_has_a_name_that_a_card_can_hold(tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"caf\xe9.zip")
    assert stem_of(folder) == "caf\\udce9"
