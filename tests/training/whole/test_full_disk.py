"""A disk that is full costs a fit one line: no crash, no half version, and no epoch that was complete."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.training.tiny_backbone import on_tiny
from training.__main__ import main
from training.errors import DatasetError
from training.fitting.run import Epoch, read_history
from training.recipes import FOR_ANY_IMAGES
from training.saving import NotSaved, replace_bytes, saving

NAME = "cups"
FILE_BYTES = (200, 1_000, 2_500, 4_000, 8_000, 16_000, 32_000, 64_000)  # from the smallest file of a fit to the largest
SMALL_DISK_BYTES = 1_000_000


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: writes fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "none", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("nobody but root may mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def leave(disk: Path, free: int) -> None:
    """Fill a disk up to so many free bytes."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with filler.open("r+b") as file:
        file.truncate(max(0, filler.stat().st_size - free))


def fit_command(photos: Path, home: Path) -> list[str]:
    folders = ["--models", str(home / "models"), "--runs", str(home / "runs"), "--record", str(home / "records")]
    return ["fit", "finetuned", "--data", str(photos), "--name", NAME, "--precision", "float32", *folders]


def course(home: Path) -> list[Epoch]:
    return read_history(home / "models" / NAME / "1" / "history.csv")


def assert_refused_in_one_line(code: int, said: str, home: Path) -> None:
    assert code == 1
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "cannot be saved (" in said
    assert "make room there, and give the same command with --resume" in said
    assert ModelStore(home / "models").versions() == {}
    assert [*home.rglob(".draft-*"), *home.rglob("*.half")] == []


def assert_whole(home: Path, undisturbed: list[Epoch]) -> None:
    assert ModelStore(home / "models").verify(NAME).version == 1
    np.testing.assert_allclose([row[2:] for row in course(home)], [row[2:] for row in undisturbed], atol=1e-3)
    assert list(home.glob("runs/*/history.csv")) == []


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(FOR_ANY_IMAGES, "finetuned", on_tiny("finetuned"))
    return photo_folders(tmp_path / "photos", ("cup", "plate"), per_class=20, side=32)


@pytest.fixture
def undisturbed(photos: Path, tmp_path: Path) -> list[Epoch]:
    assert main(fit_command(photos, tmp_path / "undisturbed")) == 0
    return course(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_fit_goes_on_once_its_files_may_be_written(
    photos: Path, undisturbed: list[Epoch], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, refused = tmp_path / "home", []
    for size in FILE_BYTES:
        capsys.readouterr()
        with no_file_beyond(size):
            code = main([*fit_command(photos, home), "--resume"])
        said = capsys.readouterr().err
        if ModelStore(home / "models").versions():
            break
        assert_refused_in_one_line(code, said, home)
        refused.append(said)
    for what in ("the run", "epoch ", "the version"):
        assert any(what in said for said in refused), f"never refused while {what} was saved"
    if not ModelStore(home / "models").versions():
        assert main([*fit_command(photos, home), "--resume"]) == 0
    assert_whole(home, undisturbed)


@pytest.mark.slow
def test_a_fit_goes_on_once_its_disk_has_room(
    photos: Path, undisturbed: list[Epoch], small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = 0
    for free in (0, 4_096, 12_288, *range(20_480, SMALL_DISK_BYTES, 40_960)):
        leave(small_disk, free)
        capsys.readouterr()
        code = main([*fit_command(photos, small_disk), "--resume"])
        said = capsys.readouterr().err
        if ModelStore(small_disk / "models").versions():
            assert code == 0 or f"{small_disk / 'models' / NAME / '1'} is saved" in said
            break
        assert_refused_in_one_line(code, said, small_disk)
        refused += 1
    assert refused >= 3
    assert_whole(small_disk, undisturbed)


@pytest.mark.slow
def test_what_cannot_be_written_after_the_version_leaves_the_version(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"{NAME}-1").write_text("in the way of the record's folder")
    assert main(fit_command(photos, tmp_path)) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"yet {tmp_path / 'models' / NAME / '1'} is saved" in said


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "history.csv"
    replace_bytes(kept, b"whole")
    with no_file_beyond(100), pytest.raises(OSError, match="too large"):
        replace_bytes(kept, bytes(200))
    assert kept.read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_any_other_refusal_of_the_system_says_what_it_is(tmp_path: Path) -> None:
    with (
        pytest.raises(NotSaved, match=r"epoch 3 cannot be saved \(Read-only file system\); put that right, .*--resume"),
        saving("epoch 3", tmp_path),
    ):
        raise OSError(30, "Read-only file system")


def test_what_is_no_refusal_of_the_system_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(DatasetError), saving("epoch 3", tmp_path):
        raise DatasetError("no images")
