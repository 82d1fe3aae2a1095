"""What is said of classes: labels that look wrong, traits that give a class away, mirrored and uneven ones."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tests.archives import folder_of
from tests.training.checking.photos import folder_files, jpeg, photo, png, thing, things
from training.checking.check import Checked, check, check_decoded
from training.checking.classes.folds import balanced_accuracy, held_out
from training.checking.classes.labels import OUTLYING, how_far, suspects
from training.checking.finding import Finding
from training.datasets import open_listing
from training.datasets.dataset import Dataset, Split


def checked(path: Path, files: dict[str, bytes], features: Literal["simple", "none"] = "none") -> Checked:
    with open_listing(folder_of(path / "photos", files)) as listing:
        return check(listing, features=features)


def of_kind(result: Checked, kind: str) -> list[Finding]:
    return [each for each in result.findings if each.kind == kind]


@pytest.fixture(scope="module")
def clean() -> dict[str, bytes]:
    return things(30, "ring", "cross")


def test_nothing_is_said_of_a_clean_set(tmp_path: Path, clean: dict[str, bytes]) -> None:
    result = checked(tmp_path, clean, "simple")
    assert result.findings == ()
    assert result.features == "simple features"


def test_wrong_labels_are_the_first_suspects(tmp_path: Path, clean: dict[str, bytes]) -> None:
    files = dict(clean)
    wrong = [f"ring/{n}.jpg" for n in (3, 9)] + ["cross/5.jpg"]
    for name in wrong:
        kind, file = name.split("/")
        files[f"{'cross' if kind == 'ring' else 'ring'}/was-{file}"] = files.pop(name)
    (found,) = of_kind(checked(tmp_path, files, "simple"), "label")
    named = [case.files[0] for case in found.cases]
    assert {"cross/was-3.jpg", "cross/was-9.jpg", "ring/was-5.jpg"} <= set(named[:6])
    first = found.cases[0]
    assert first.suggested in ("ring", "cross")
    assert first.said.startswith(f"labelled {first.files[0].split('/')[0]}, looks like {first.suggested}")


def test_labels_are_not_judged_where_features_tell_nothing(tmp_path: Path) -> None:
    assert not of_kind(checked(tmp_path, folder_files({"cup": range(20), "plate": range(50, 70)}), "simple"), "label")


def test_a_background_that_gives_the_class_away_is_found(tmp_path: Path) -> None:
    tints = {"ring": (40, 60, 160), "cross": (170, 120, 40)}
    files = {f"{kind}/{n}.jpg": jpeg(thing(kind, n, tint)) for kind, tint in tints.items() for n in range(30)}
    titles = [each.title for each in of_kind(checked(tmp_path, files), "shortcut")]
    assert any(title.startswith("The colour of the border alone tells cross from ring in ") for title in titles)


def test_a_format_that_gives_the_class_away_is_found(tmp_path: Path) -> None:
    files = {f"ring/{n}.jpg": jpeg(thing("ring", n)) for n in range(25)}
    files |= {f"cross/{n}.png": png(thing("cross", 100 + n)) for n in range(25)}
    found = {each.title.split(" alone")[0]: each for each in of_kind(checked(tmp_path, files), "shortcut")}
    assert [case.said for case in found["The format"].cases] == ["cross: PNG 25", "ring: JPEG 25"]
    assert found["The format"].title.endswith("in 100% (chance: 50%)")


def test_two_classes_of_many_that_a_trait_tells_apart_are_named(tmp_path: Path) -> None:
    files = things(25, "ring", "cross", "left")
    files |= {f"dark/{n}.jpg": jpeg(thing("ring", 8_000 + n, (0, 0, 0))) for n in range(25)}
    titles = [each.title for each in of_kind(checked(tmp_path, files), "shortcut")]
    assert titles
    assert all("dark" in title for title in titles)


def test_classes_that_differ_by_mirroring_are_named(tmp_path: Path) -> None:
    result = checked(tmp_path, things(20, "left", "right"), "simple")
    assert [each.title for each in of_kind(result, "mirrored")] == ["left and right differ by mirroring"]


def test_an_image_unlike_its_class_is_far_from_its_neighbours() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (200, 40)) + np.r_[np.full(20, 3.0), np.zeros(20)]
    rows[7] = np.r_[np.zeros(20), np.full(20, 9.0)]
    far = how_far(rows)
    assert far.argmax() == 7
    assert far[7] > OUTLYING > np.delete(far, 7).max()


@pytest.mark.parametrize(
    ("few", "severity", "said"), [(3, "problem", "10.0 times"), (9, "warning", "3.3 times"), (15, None, "")]
)
def test_uneven_classes_are_named(tmp_path: Path, few: int, severity: str | None, said: str) -> None:
    files = folder_files({"cup": range(30), "plate": range(50, 50 + few)})
    found = [each for each in of_kind(checked(tmp_path, files), "balance") if "times the images" in each.title]
    assert [each.severity for each in found] == ([severity] if severity else [])
    assert all(said in each.title for each in found)


def test_a_class_of_one_image_is_named(tmp_path: Path) -> None:
    result = checked(tmp_path, folder_files({"cup": range(12), "plate": range(50, 51)}))
    (few,) = [each for each in of_kind(result, "balance") if "fewer than" in each.title]
    assert "A class with one image cannot be both learned and tested: plate." in few.advice


def test_only_confident_contradictions_are_suspects() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.45, 0.55], [0.2, 0.8]])
    assert [(each.image, each.suggested) for each in suspects(sure, labels)] == [(2, 1)]  # the fifth is not sure
    assert suspects(sure, labels)[0].score == pytest.approx(0.8)


def test_each_image_is_answered_by_a_head_that_did_not_see_it() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    rows = rng.normal(0, 1, (120, 5)).astype(np.float32) + np.eye(3, 5, dtype=np.float32)[labels] * 4
    found = held_out(rows, labels, 3)
    assert balanced_accuracy(found.probabilities, labels) > 0.9
    assert np.allclose(found.probabilities.argmax(1), found.logits(rows).argmax(1))
    nothing = held_out(rng.normal(0, 1, (120, 5)).astype(np.float32), labels, 3)
    assert balanced_accuracy(nothing.probabilities, labels) < 0.55


@pytest.mark.parametrize("channels", [1, 3])
def test_a_decoded_data_set_gets_the_quick_checks(channels: int) -> None:
    pixels = np.stack([np.asarray(photo(n, 48, 48)) for n in range(24)])[..., :channels]
    pixels[20] = pixels[3]
    labels = np.arange(24) % 2
    splits = {
        "train": Split(pixels[:12], labels[:12]),
        "validation": Split(pixels[12:18], labels[12:18]),
        "test": Split(pixels[18:], labels[18:]),
    }
    result = check_decoded(Dataset("photos", ("a", "b"), splits))
    assert [each.kind for each in result.findings] == ["leak", "conflict"]
    assert result.findings[0].cases[0].files == ("test:2", "train:3")
