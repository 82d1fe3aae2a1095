"""Promises of `classifier.store`: all of a version or none of it, and only what its card describes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from classifier import store
from classifier.card import Card, read_card
from classifier.errors import BrokenModel, UnknownModel
from classifier.store import ModelStore
from tests.tiny_models import COLOUR, GREY, tiny_card


def fill(folder: Path) -> Card:
    """A version whose files are text: the store does not look into them."""
    for file in (*store.REQUIRED, store.HISTORY, "curves.png"):
        (folder / file).write_text(f"what {file} holds", encoding="utf-8")
    return tiny_card()


@pytest.fixture
def texts(tmp_path: Path) -> ModelStore:
    """A store with `tiny` version 1, of text files."""
    texts = ModelStore(tmp_path / "models")
    texts.save("tiny", fill)
    return texts


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Reading


def test_models_and_versions_are_listed_in_order(models):
    assert models.versions() == {COLOUR: (1, 2), GREY: (1,)}
    assert list(models.versions()) == [COLOUR, GREY]


def test_versions_are_ordered_as_numbers(texts):
    for version in (2, 10):
        shutil.copytree(texts.root / "tiny" / "1", texts.root / "tiny" / str(version))
    assert texts.versions() == {"tiny": (1, 2, 10)}
    assert texts.folder("tiny").name == "10"


def test_the_newest_version_is_the_default(models):
    assert models.card(COLOUR).version == 2
    assert models.card(COLOUR, 1).version == 1


def test_a_store_that_does_not_exist_is_empty(tmp_path):
    assert ModelStore(tmp_path / "nowhere").versions() == {}


def test_what_is_no_version_is_not_seen(texts):
    home = texts.root / "tiny"
    for folder in ("0", "-1", "01", "1.5", "draft", ".2", "\u0663", "2\n", "9999999999"):
        shutil.copytree(home / "1", home / folder)
    shutil.copytree(home, texts.root / ".hidden")
    shutil.copytree(home, texts.root / "Upper_Case")
    (home / "7").mkdir()  # without a card: still being copied here by somebody
    (home / "8").write_text("a file", encoding="utf-8")
    (texts.root / "file").write_text("a file", encoding="utf-8")
    assert texts.versions() == {"tiny": (1,)}
    with pytest.raises(UnknownModel):
        texts.card("tiny", 7)


@pytest.mark.parametrize("name", ["../x", "..", ".", "", "/etc", "tiny-colour/1", "tiny-colour\n", "TINY-COLOUR", "*"])
def test_names_from_outside_never_become_paths(models, name):
    for ask in (models.folder, models.card, models.verify):
        with pytest.raises(UnknownModel, match="there is: tiny-colour, tiny-grey"):
            ask(name)


@pytest.mark.parametrize("version", [0, -1, 3, 10**30, "1", "../2", "1/../2"])
def test_versions_from_outside_never_become_paths(models, version):
    for ask in (models.folder, models.card, models.verify):
        with pytest.raises(UnknownModel, match="there is: 1, 2"):
            ask(COLOUR, version)


def test_an_empty_store_says_where_it_looked(tmp_path):
    with pytest.raises(UnknownModel, match=r"none yet in .*nowhere"):
        ModelStore(tmp_path / "nowhere").folder("tiny")


# Verifying


def test_an_untouched_version_verifies(models):
    assert models.verify(COLOUR, 1) == models.card(COLOUR, 1)


def flip_a_bit(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def cut_the_last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def put_a_folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_a_link_there(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


@pytest.mark.parametrize("file", store.HASHED)
@pytest.mark.parametrize(
    "tamper",
    [flip_a_bit, cut_the_last_byte, Path.unlink, put_a_folder_there, put_a_link_there],
    ids=lambda tamper: tamper.__name__,
)
def test_tampering_with_a_file_is_noticed_and_the_file_named(texts, file, tamper: Callable[[Path], None]):
    tamper(texts.folder("tiny") / file)
    with pytest.raises(BrokenModel, match=f"tiny/1/{file}: "):
        texts.verify("tiny")


def test_a_file_that_may_not_be_read_is_named(texts, monkeypatch):
    readable = Path.open

    def open_unless_onnx(path: Path, *args: Any, **options: Any) -> Any:  # file modes would not stop root
        if path.name == store.ONNX:
            raise PermissionError(errno.EACCES, "Permission denied")
        return readable(path, *args, **options)

    monkeypatch.setattr(Path, "open", open_unless_onnx)
    with pytest.raises(BrokenModel, match=r"model\.onnx: cannot be read \(Permission denied\)"):
        texts.verify("tiny")


def test_what_is_read_is_what_the_card_vouches_for(texts):
    card = texts.card("tiny")
    assert texts.read(card, store.ONNX) == (texts.folder("tiny") / store.ONNX).read_bytes()


@pytest.mark.parametrize(
    "tamper",
    [flip_a_bit, cut_the_last_byte, Path.unlink, put_a_folder_there, lambda path: path.write_bytes(b"")],
    ids=["flip_a_bit", "cut_the_last_byte", "unlink", "put_a_folder_there", "empty"],
)
def test_what_the_card_does_not_vouch_for_is_not_read(texts, tamper: Callable[[Path], None]):
    card = texts.card("tiny")
    tamper(texts.folder("tiny") / store.ONNX)
    with pytest.raises(BrokenModel, match=f"tiny/1/{store.ONNX}: "):
        texts.read(card, store.ONNX)


def test_a_file_of_another_size_is_refused_before_it_is_hashed(texts):
    card = texts.card("tiny")
    os.truncate(texts.folder("tiny") / store.ONNX, 10**11)  # sparse; hashing it would outlast the test's time limit
    with pytest.raises(BrokenModel, match="it has 100,000,000,000 bytes, and the card says 21"):
        texts.verify("tiny")
    with pytest.raises(BrokenModel, match="it has 100,000,000,000 bytes, and the card says 21"):
        texts.read(card, store.ONNX)


def change_card(models: ModelStore, **changes: object) -> None:
    path = models.folder("tiny") / store.CARD
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes), encoding="utf-8")


def test_a_card_with_an_unknown_key_is_refused(texts):
    change_card(texts, licence="MIT")
    with pytest.raises(BrokenModel, match=r"tiny/1/card\.json: .*licence"):
        texts.verify("tiny")


@pytest.mark.parametrize("changes", [{"name": "other"}, {"version": 2}])
def test_a_card_at_another_place_is_refused(texts, changes):
    change_card(texts, **changes)
    with pytest.raises(BrokenModel, match="was it copied here"):
        texts.card("tiny")


@pytest.mark.parametrize("file", store.REQUIRED)
def test_a_card_must_vouch_for_everything_that_is_served(texts, file):
    files = json.loads((texts.folder("tiny") / store.CARD).read_bytes())["files"]
    change_card(texts, files={name: record for name, record in files.items() if name != file})
    with pytest.raises(BrokenModel, match=f"no hash for {file}"):
        texts.verify("tiny")


@pytest.mark.parametrize("file", ["../../../outside", "sub/file", "/etc/hostname", "..", ""])
def test_a_card_cannot_point_out_of_its_folder(texts, file):
    (texts.root.parent / "outside").write_text("x", encoding="utf-8")
    files = json.loads((texts.folder("tiny") / store.CARD).read_bytes())["files"]
    change_card(texts, files=files | {file: files[store.ONNX]})
    with pytest.raises(BrokenModel):
        texts.verify("tiny")


@pytest.mark.parametrize("what", ["tiny", "tiny/1", "tiny/1/card.json"])
def test_a_model_a_version_or_a_card_that_is_a_link_is_refused(texts, tmp_path, what):
    path = texts.root / what
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    with pytest.raises(BrokenModel, match="no links"):
        texts.verify("tiny")


@pytest.mark.parametrize("below", ["", "tiny", "tiny/1"])
def test_a_volume_of_kubernetes_may_hold_the_store_a_model_or_a_version(texts, below):
    """Its files lie in `..DATE`, to which `..data` leads, and everything that is seen is a link into that."""
    mounted = texts.root / below
    dated = mounted / "..2026_11_26_12_00_00.1"
    dated.mkdir()
    for path in [path for path in mounted.iterdir() if path != dated]:
        path.rename(dated / path.name)
        path.symlink_to(f"..data/{path.name}")
    (mounted / "..data").symlink_to(dated.name)
    assert texts.versions() == {"tiny": (1,)}
    assert texts.verify("tiny").name == "tiny"


def test_a_link_into_another_version_is_refused(texts):
    (texts.root / "tiny" / "2").symlink_to("1")
    with pytest.raises(BrokenModel, match="no links"):
        texts.verify("tiny", 2)


def test_a_pointer_of_git_lfs_is_named_as_one(texts):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (texts.folder("tiny") / store.ONNX).write_bytes(pointer)
    card = texts.card("tiny")
    with pytest.raises(BrokenModel, match="git lfs pull"):
        texts.verify("tiny")
    with pytest.raises(BrokenModel, match="git lfs pull"):
        texts.read(card, store.ONNX)


def test_a_file_that_may_be_missing_may_not_be_another(texts):
    path = texts.folder("tiny") / store.KERAS
    flip_a_bit(path)
    with pytest.raises(BrokenModel, match=store.KERAS):
        texts.verify("tiny", may_lack=(store.KERAS,))
    path.unlink()
    assert texts.verify("tiny", may_lack=(store.KERAS,)).name == "tiny"
    with pytest.raises(BrokenModel, match=store.KERAS):
        texts.verify("tiny")


def test_a_model_whose_folder_cannot_be_listed_is_named_and_the_others_stay(texts, monkeypatch):
    (texts.root / "locked").mkdir()
    listed = os.scandir

    def list_unless_locked(path: Any) -> Any:  # file modes would not stop root
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", list_unless_locked)
    assert texts.versions() == {"tiny": (1,)}
    assert texts.unreadable() == {"locked": "Permission denied"}


def test_the_store_itself_may_be_a_link(texts, tmp_path):
    (tmp_path / "link").symlink_to(texts.root)
    assert ModelStore(tmp_path / "link").verify("tiny").name == "tiny"


def test_pictures_may_be_drawn_anew(texts):
    (texts.folder("tiny") / "curves.png").write_text("other colours", encoding="utf-8")
    texts.verify("tiny")


# Saving


def test_a_card_can_be_put_in_the_place_of_its_versions(texts):
    card = texts.card("tiny").model_copy(update={"checks": ()})
    texts.update(card)
    assert texts.verify("tiny") == card
    assert everything_below(texts.folder("tiny")) == sorted([store.CARD, *store.HASHED, "curves.png"])


def test_a_card_of_other_files_takes_nobodys_place(texts):
    card = texts.card("tiny")
    (texts.folder("tiny") / store.ONNX).write_text("another network", encoding="utf-8")
    with pytest.raises(BrokenModel, match=r"model\.onnx"):
        texts.update(card.model_copy(update={"checks": ()}))
    assert texts.card("tiny") == card


def test_a_saved_version_is_complete_and_verifies(texts):
    card = texts.verify("tiny")
    assert (card.name, card.version) == ("tiny", 1)
    assert set(card.files) == set(store.HASHED)
    assert card.files[store.ONNX].bytes == len("what model.onnx holds")
    assert everything_below(texts.folder("tiny")) == sorted([store.CARD, *store.HASHED, "curves.png"])


def test_saving_returns_the_card_as_written(texts):
    card = texts.save("tiny", fill)
    assert card == read_card(texts.folder("tiny", card.version) / store.CARD)


def test_versions_count_up(texts):
    assert [texts.save("tiny", fill).version for _ in range(3)] == [2, 3, 4]


def test_the_store_names_the_card(texts):
    assert texts.save("other", fill).name == "other"
    assert texts.verify("other").version == 1


def test_other_users_may_read_what_was_saved(texts):
    assert texts.folder("tiny").stat().st_mode & 0o055 == 0o055


def test_a_number_that_is_taken_by_something_else_is_left_alone(texts):
    home = texts.root / "tiny"
    (home / "2").mkdir()
    (home / "2" / "notes.txt").write_text("mine", encoding="utf-8")
    (home / "3").write_text("mine too", encoding="utf-8")
    assert texts.save("tiny", fill).version == 4
    assert (home / "2" / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (home / "3").read_text(encoding="utf-8") == "mine too"


@pytest.mark.parametrize("name", ["../x", "", ".", "Upper", "with space", "-a", "a-", "tiny\n", "a" * 65])
def test_only_names_that_are_safe_everywhere_can_be_saved(texts, name):
    before = everything_below(texts.root.parent)
    with pytest.raises(UnknownModel, match="cannot name a model"):
        texts.save(name, fill)
    assert everything_below(texts.root.parent) == before


@pytest.mark.parametrize("stop", [RuntimeError("the disk is full"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("name", ["tiny", "brand-new"])
def test_a_crash_while_filling_leaves_nothing(texts, name, stop):
    def crash(folder: Path) -> Card:
        fill(folder)
        raise stop

    before = everything_below(texts.root)
    with pytest.raises(type(stop)):
        texts.save(name, crash)
    assert everything_below(texts.root) == before


@pytest.mark.parametrize("file", store.REQUIRED)
def test_a_version_that_lacks_a_file_is_not_saved(texts, file):
    def forget(folder: Path) -> Card:
        card = fill(folder)
        (folder / file).unlink()
        return card

    before = everything_below(texts.root)
    with pytest.raises(BrokenModel, match=file):
        texts.save("brand-new", forget)
    assert everything_below(texts.root) == before


def test_a_version_that_is_being_filled_is_not_seen(texts):
    seen = []

    def look(folder: Path) -> Card:
        card = fill(folder)
        (folder / store.CARD).write_text("{}", encoding="utf-8")
        seen.append(texts.versions())
        return card

    texts.save("tiny", look)
    texts.save("brand-new", look)
    assert seen == [{"tiny": (1,)}, {"tiny": (1, 2)}]


def test_writers_at_the_same_moment_never_overwrite_each_other(texts):
    writers = 8
    together = threading.Barrier(writers)

    def fill_with(number: int) -> Callable[[Path], Card]:
        def fill_then_wait(folder: Path) -> Card:
            card = fill(folder)
            (folder / store.ONNX).write_text(f"network {number}", encoding="utf-8")
            together.wait()
            return card.model_copy(update={"recipe": str(number)})

        return fill_then_wait

    with ThreadPoolExecutor(writers) as threads:
        cards = list(threads.map(lambda number: texts.save("new", fill_with(number)), range(writers)))
    assert texts.versions()["new"] == tuple(range(1, writers + 1))
    for number, card in enumerate(cards):
        assert texts.verify("new", card.version).recipe == str(number)
        network = texts.folder("new", card.version) / store.ONNX
        assert network.read_text(encoding="utf-8") == f"network {number}"


def test_a_reader_sees_all_of_a_version_or_none_of_it(texts):
    done = threading.Event()

    def write() -> None:
        for _ in range(30):
            texts.save("tiny", fill)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        texts.verify("tiny")
    writer.join()
    assert texts.verify("tiny").version == 31
