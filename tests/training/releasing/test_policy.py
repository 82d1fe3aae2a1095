"""`training.releasing.policy`: a policy is understood completely, or refused by name of the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.releasing.policy import Policy, ReleasePolicyError, read_policy

ROOT = Path(__file__).parents[3]


def written(folder: Path, text: str) -> Path:
    path = folder / "release.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert read_policy(tmp_path / "release.toml", "cups") == Policy()


def test_a_models_table_stands_over_what_holds_for_all(tmp_path: Path) -> None:
    path = written(tmp_path, "max_class_drop = 0.05\nmax_ece = 0.1\n[cups]\nmax_class_drop = 0.1\nmax_p50_ratio = 3\n")
    assert read_policy(path, "cups") == Policy(max_class_drop=0.1, max_ece=0.1, max_p50_ratio=3)
    assert read_policy(path, "plates") == Policy(max_class_drop=0.05, max_ece=0.1)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("max_clas_drop = 0.1", "max_clas_drop: Extra inputs are not permitted"),
        ("[cups]\nmax_p50 = 3", r"cups\.max_p50: Extra inputs"),
        ("[plates]\nmax_p50 = 3", r"plates\.max_p50: Extra inputs"),
        ("max_class_drop = 2.0", "max_class_drop: Input should be less than or equal to 1"),
        ("max_p50_ratio = -1", "max_p50_ratio: Input should be greater than 0"),
        ('max_ece = "low"', "max_ece: Input should be a valid number"),
        ("max_ece = nan", "max_ece: Input should be"),
        ("max_ece", "not TOML"),
    ],
)
def test_what_is_not_understood_is_refused_naming_file_and_key(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ReleasePolicyError, match=rf"release\.toml: {fault}"):
        read_policy(written(tmp_path, text), "cups")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "release.toml").mkdir()
    with pytest.raises(ReleasePolicyError, match=r"release\.toml: cannot be read"):
        read_policy(tmp_path / "release.toml", "cups")


def test_the_example_says_the_defaults(tmp_path: Path) -> None:
    example = (ROOT / "models" / "release.example.toml").read_text(encoding="utf-8")
    path = written(tmp_path, example)
    assert read_policy(path, "cups") == Policy()
    assert read_policy(path, "cats-vs-dogs") != Policy()
    keys = {line.split("=")[0].strip(" #") for line in example.splitlines() if "=" in line}
    assert keys == set(Policy.model_fields)
