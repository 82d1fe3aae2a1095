from __future__ import annotations

from pathlib import Path

import pytest

from classifier.commands.image_files import NoImages, arriving, each


def test_a_folder_stands_for_its_images_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.webp", ".hidden.jpg", ".cache/d.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    alone = Path("typed by hand")
    assert list(each([alone, tmp_path])) == [alone, tmp_path / "a.png", tmp_path / "b.JPG", tmp_path / "sub" / "c.webp"]


def test_a_folder_without_images_is_an_error_that_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(NoImages, match=r"has no images: expected files with \.jpg"):
        list(each([tmp_path]))


def test_what_comes_into_a_watched_folder_is_given_once_it_has_stopped_growing(tmp_path: Path) -> None:
    def look(_: float) -> None:
        """What happens between two looks."""
        if happened := next(happenings, None):
            happened()

    here, new = tmp_path / "1.jpg", tmp_path / "2.jpg"
    here.write_bytes(b"1")
    sizes: list[int] = []

    def grow() -> None:
        with new.open("ab") as file:
            file.write(b"22")

    happenings = iter([grow, grow, lambda: None, here.unlink, lambda: here.write_bytes(b"111"), lambda: None])
    stream = arriving([tmp_path], sleep=look)
    given = []
    for _ in range(3):
        given.append(next(stream))
        sizes.append(given[-1].stat().st_size)
    assert (given, sizes) == ([here, new, here], [1, 4, 3])
