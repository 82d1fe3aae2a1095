"""`classifier.scoring.sources`: where the images of a job come from, in an order that stays."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from classifier.scoring.shards import Shard
from classifier.scoring.sources import Source, UnusableInput, source_of
from tests.classifier.scoring.photos import faulty_pictures, good_pictures

NAMES = ["a/0000.jpg", "a/0002.jpg", "b/0001.jpg", "b/0003.jpg"]


def names(source: Source) -> list[str]:
    return [item.name for item in source.items()]


def contents(source: Source) -> dict[str, bytes]:
    return {item.name: item.load() if item.load else source.read(item.name) for item in source.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return good_pictures(tmp_path / "photos", 4)


@pytest.fixture
def bodies(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES}


def test_a_folder_names_its_images_in_order_and_nothing_else(folder: Path, bodies: dict[str, bytes]):
    faulty_pictures(folder)
    source = source_of(str(folder))
    assert names(source) == ["cut.jpg", "text.png", "wide.bmp", *NAMES]
    assert source.count() == 7
    assert bodies.items() <= contents(source).items()


def test_a_list_keeps_its_order_and_is_relative_to_where_it_lies(folder: Path, bodies: dict[str, bytes]):
    (folder / "list.txt").write_text("b/0003.jpg\n\na/0000.jpg\r\n")
    source = source_of(str(folder / "list.txt"))
    assert contents(source) == {name: bodies[name] for name in ("b/0003.jpg", "a/0000.jpg")}
    assert source.count() == 2


def test_stdin_gives_paths(folder: Path, bodies: dict[str, bytes]):
    source = source_of("-", io.StringIO(f"{folder}/a/0000.jpg\n"))
    assert contents(source) == {f"{folder}/a/0000.jpg": bodies["a/0000.jpg"]}
    assert source.count() is None


def test_a_zip_is_read_in_the_order_of_its_names(tmp_path: Path, bodies: dict[str, bytes]):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in reversed(NAMES):
            archive.writestr(name, bodies[name])
        archive.writestr("__MACOSX/a/._0000.jpg", b"")
    source = source_of(str(tmp_path / "photos.zip"))
    assert names(source) == NAMES
    assert contents(source) == bodies
    assert source.count() == 4


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_tar_is_read_as_it_lies(suffix: str, tmp_path: Path, folder: Path, bodies: dict[str, bytes]):
    path = tmp_path / f"photos.{suffix}"
    with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
        for name in reversed(NAMES):
            archive.add(folder / name, name)
    source = source_of(str(path))
    assert names(source) == NAMES[::-1]
    assert contents(source) == bodies


def test_an_address_is_walked_in_order(folder: Path, bodies: dict[str, bytes]):
    source = source_of(f"file://{folder}")
    assert names(source) == NAMES
    assert contents(source) == bodies


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere", "there is no such file or folder"),
        ("one.jpg", "`sightline predict` classifies it"),
        ("unheard://of", "Protocol not known"),
        ("broken.zip", "not an archive that can be read"),
    ],
)
def test_other_input_is_named(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one.jpg", "broken.zip"):
        Path(name).write_bytes(b"no archive")
    with pytest.raises(UnusableInput, match=said):
        names(source_of(text))


def test_what_is_damaged_in_an_archive_is_an_oserror(tmp_path: Path, bodies: dict[str, bytes]):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", bodies[NAMES[0]])
    body = bytearray((tmp_path / "photos.zip").read_bytes())
    body[200] ^= 255
    (tmp_path / "photos.zip").write_bytes(body)
    with pytest.raises(OSError, match="damaged in the archive: Bad CRC"):
        contents(source_of(str(tmp_path / "photos.zip")))


def test_shards_share_everything_out():
    shards = [Shard(number, 3) for number in (1, 2, 3)]
    picked = [list(shard.pick(range(10))) for shard in shards]
    assert sorted(index for part in picked for index in part) == list(range(10))
    assert [len(part) for part in picked] == [shard.share(10) for shard in shards]
