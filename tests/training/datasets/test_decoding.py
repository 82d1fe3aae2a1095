"""`training.datasets.decoding`: many images at once, by the decoding that serving uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from classifier.formats import READS_HEIC
from classifier.images import decode, from_array
from tests.archives import jpeg, picture, zip_of
from tests.pictures import encoded, heic, scene
from training.datasets.archive import Archive
from training.datasets.decoding import LabelledFile, decode_splits, prepare_arrays
from training.errors import DatasetError

SPEC = InputSpec(height=20, width=24, channels=3)


def _pictures(count: int, side: int = 40) -> dict[str, bytes]:
    return {f"{i:03}.jpg": jpeg(picture(i % 2, 2, i, side)) for i in range(count)}


def _plan(names: list[str]) -> list[LabelledFile]:
    return [LabelledFile(name, i % 2) for i, name in enumerate(names)]


@pytest.mark.parametrize("side", [40, 300], ids=["tiny files, one thread", "photos, several threads"])
def test_pixels_are_those_that_serving_decodes_in_the_order_asked_for(side: int, tmp_path: Path) -> None:
    bodies = _pictures(80, side)
    names = sorted(bodies, reverse=True)
    with Archive(zip_of(tmp_path / "a.zip", bodies)) as archive:
        splits, skipped = decode_splits(archive, {"train": _plan(names)}, SPEC, None)
    assert not skipped
    for i, name in enumerate(names):
        assert np.array_equal(splits["train"].pixels[i], decode(bodies[name], SPEC))
    assert splits["train"].labels.tolist() == [0, 1] * 40


def test_photos_of_phones_are_read_beside_others(tmp_path: Path) -> None:
    bodies = _pictures(4) | {"004.avif": encoded(scene(), "AVIF")}
    if READS_HEIC:
        bodies["005.heic"] = heic(scene())
    with Archive(zip_of(tmp_path / "a.zip", bodies)) as archive:
        splits, skipped = decode_splits(archive, {"train": _plan(sorted(bodies))}, SPEC, None)
    assert not skipped
    for pixels, body in zip(splits["train"].pixels, bodies.values(), strict=True):
        assert np.array_equal(pixels, decode(body, SPEC))


def test_a_file_that_does_not_decode_is_left_out_and_named_with_the_reason(tmp_path: Path) -> None:
    bodies = _pictures(10) | {"003.jpg": b"", "006.jpg": b"GIF89a, or so it says"}
    with Archive(zip_of(tmp_path / "a.zip", bodies)) as archive:
        splits, skipped = decode_splits(archive, {"train": _plan(sorted(bodies))}, SPEC, None)
    assert [file.file for file in skipped] == ["003.jpg", "006.jpg"]
    assert "no bytes at all" in skipped[0].reason
    assert splits["train"].labels.tolist() == [0, 1, 0, 0, 1, 1, 0, 1]
    assert np.array_equal(splits["train"].pixels[3], decode(bodies["004.jpg"], SPEC))


def test_only_what_the_limit_leaves_is_read(tmp_path: Path) -> None:
    bodies = _pictures(4) | {f"{i:03}.jpg": b"never looked at" for i in range(4, 50)}
    with Archive(zip_of(tmp_path / "a.zip", bodies)) as archive:
        splits, skipped = decode_splits(archive, {"train": _plan(sorted(bodies))}, SPEC, 4)
    assert len(splits["train"]) == 4
    assert not skipped


def test_a_split_without_one_readable_image_is_an_error(tmp_path: Path) -> None:
    with (
        Archive(zip_of(tmp_path / "a.zip", {"0.jpg": b"x", "1.jpg": b"y"})) as archive,
        pytest.raises(DatasetError, match="none of 2 train images decodes: expected a JPEG"),
    ):
        decode_splits(archive, {"train": _plan(["0.jpg", "1.jpg"])}, SPEC, None)


def test_every_image_counts_in_the_progress(tmp_path: Path) -> None:
    bodies, seen = _pictures(70), []
    plan = {"train": _plan(sorted(bodies)[:68]), "test": _plan(sorted(bodies)[68:])}
    with Archive(zip_of(tmp_path / "a.zip", bodies)) as archive:
        decode_splits(archive, plan, SPEC, None, progress=lambda *step: seen.append(step))
    assert seen == [("reading images", done, 70) for done in (64, 68, 70)]


def test_raw_arrays_become_what_serving_makes_of_them() -> None:
    spec = InputSpec(height=28, width=28, channels=1, contrast="stretch")
    images = [picture(i, 3, i, 28)[..., 0] // 2 + 20 for i in range(3)]
    pixels = prepare_arrays(images, 3, spec)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, 28, 28, 1)
    assert np.array_equal(pixels[2], from_array(images[2], spec))
    assert (pixels.min(), pixels.max()) == (0, 255)
