"""The plan names what could be done, a person edits it, and a cleaned copy is made beside the untouched original."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from classifier.commands.cli import main
from tests.archives import folder_of, zip_of
from tests.training.checking.photos import folder_files, jpeg, photo
from training.checking.plan import Step, read_plan, write_plan
from training.errors import DatasetError


@pytest.fixture
def files() -> dict[str, bytes]:
    made = folder_files({"cup": range(8), "plate": range(50, 58)})
    splits = {f"train/{name}": body for name, body in made.items()}
    splits |= {
        f"test/{name}": body for name, body in folder_files({"cup": range(20, 24), "plate": range(70, 74)}).items()
    }
    return splits | {
        "train/cup/again.jpg": made["cup/1.jpg"],
        "test/cup/leak.jpg": jpeg(photo(2), quality=50),
        "train/plate/empty.jpg": b"",
        "train/cup/notes.txt": b"-",
    }


def planned(data: Path, to: Path) -> dict[str, dict[str, str]]:
    assert main(["check", str(data), "--features", "none", "--fix", str(to)]) == 0
    with to.open(encoding="utf-8", newline="") as text:
        return {row["file"]: row for row in csv.DictReader(text)}


def applied(data: Path, plan: Path, out: Path) -> int:
    return main(["check", str(data), "--apply", str(plan), "--out", str(out)])


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_plan_drops_what_is_in_train_again_and_what_cannot_be_read(tmp_path: Path, files: dict[str, bytes]) -> None:
    rows = planned(folder_of(tmp_path / "photos", files), tmp_path / "plan.csv")
    dropped = {file for file, row in rows.items() if row["action"] == "drop"}
    assert dropped == {"train/cup/again.jpg", "train/cup/2.jpg", "train/plate/empty.jpg", "train/cup/notes.txt"}
    assert rows["train/cup/2.jpg"]["reason"] == "in test and train: nearly the same as test/cup/leak.jpg"


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_cleaned_copy_has_neither_fault_nor_leak(tmp_path: Path, files: dict[str, bytes], packed: bool) -> None:
    data = zip_of(tmp_path / "photos.zip", files) if packed else folder_of(tmp_path / "photos", files)
    planned(data, tmp_path / "plan.csv")
    before = {name: (data / name).stat() for name in files} if not packed else {}
    assert applied(data, tmp_path / "plan.csv", tmp_path / "clean") == 0
    gone = {"train/cup/again.jpg", "train/cup/2.jpg", "train/plate/empty.jpg", "train/cup/notes.txt"}
    assert tree(tmp_path / "clean") == files.keys() - gone
    for name, seen in before.items():
        now = (data / name).stat()
        assert (now.st_mtime_ns, now.st_size, now.st_ino) == (seen.st_mtime_ns, seen.st_size, seen.st_ino)
    if not packed:
        assert (tmp_path / "clean/train/cup/1.jpg").samefile(data / "train/cup/1.jpg")
    assert main(["check", str(tmp_path / "clean"), "--features", "none", "--strict"]) == 0


def test_a_person_relabels_and_moves(tmp_path: Path, files: dict[str, bytes]) -> None:
    data = folder_of(tmp_path / "photos", files)
    steps = [Step("relabel", "train/cup/3.jpg", "plate", ""), Step("move", "train/cup/4.jpg", "test", "")]
    write_plan(steps, tmp_path / "plan.csv")
    assert applied(data, tmp_path / "plan.csv", tmp_path / "clean") == 0
    made = tree(tmp_path / "clean")
    assert {"train/plate/3.jpg", "test/cup/4.jpg"} <= made
    assert not {"train/cup/3.jpg", "train/cup/4.jpg"} & made


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("delete,train/cup/1.jpg,,", "line 2: expected keep, drop, move, relabel as action, got 'delete'"),
        ("relabel,train/cup/1.jpg,,", "relabel needs the name of a class"),
        ("relabel,train/cup/1.jpg,../../etc,", "relabel needs the name of a class"),
        ("drop,train/cup/gone.jpg,,", "the plan names train/cup/gone.jpg, which is not in the data"),
        ("relabel,train/cup/1.jpg,plate,\nrelabel,train/cup/again.jpg,plate,\n", ""),
    ],
)
def test_a_plan_that_does_not_fit_is_one_line_and_nothing_is_made(
    tmp_path: Path, files: dict[str, bytes], capsys: pytest.CaptureFixture[str], rows: str, said: str
) -> None:
    data = folder_of(tmp_path / "photos", files)
    (tmp_path / "plan.csv").write_text(f"action,file,to,reason\n{rows}\n", encoding="utf-8")
    code = applied(data, tmp_path / "plan.csv", tmp_path / "clean")
    assert code == (1 if said else 0)
    assert said in capsys.readouterr().err
    assert (tmp_path / "clean").exists() == (not said)


def test_a_copy_is_never_made_into_the_original_or_into_what_is_there(
    tmp_path: Path, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder_of(tmp_path / "photos", files)
    write_plan([], tmp_path / "plan.csv")
    for out in (data, data / "clean", tmp_path):
        assert applied(data, tmp_path / "plan.csv", out) == 1
    assert "name a folder" in capsys.readouterr().err
    assert tree(data) == set(files)
    assert main(["check", str(data), "--apply", str(tmp_path / "plan.csv")]) == 2


def test_a_name_that_a_spreadsheet_would_run_comes_back_as_it_was(tmp_path: Path) -> None:
    steps = [Step("drop", "=cmd|x/1.jpg", "", '-1, "quoted"\nline'), Step("relabel", "'a/b.jpg", "@class", "why")]
    write_plan(steps, tmp_path / "plan.csv")
    assert "\ndrop,'=cmd" in (tmp_path / "plan.csv").read_text()
    assert read_plan(tmp_path / "plan.csv") == steps


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match="expected the columns action, file, to, reason, got a, b"):
        read_plan(tmp_path / "other.csv")
