from __future__ import annotations

from pathlib import Path

import pytest

from classifier import rollout_file
from classifier.errors import RolloutFileError
from classifier.rollout_file import FILE, NOTHING_SAID, Guard, ModelRollout, check_versions, set_alias, set_values
from classifier.store import ModelStore

ROOT = Path(__file__).parents[3]


def written(models: Path, text: str) -> Path:
    (models / FILE).write_text(text, encoding="utf-8")
    return models


def test_without_a_file_nothing_is_said(tmp_path: Path) -> None:
    assert rollout_file.read(tmp_path) == {}


def test_the_example_is_valid_and_fits_the_shipped_models() -> None:
    rollout = rollout_file.parsed((ROOT / "models" / "rollout.example.toml").read_text(encoding="utf-8"))
    assert rollout["cats-vs-dogs"].canary_weight == 0.1
    check_versions(rollout, ModelStore(ROOT / "models").versions())


def test_a_table_says_which_versions_answer(tmp_path: Path) -> None:
    models = written(
        tmp_path,
        '[asl]\nstable = 2\ncanary = 3\ncanary_weight = 1\nsticky = "off"\nkeep = 2\npin = 7\n'
        "[asl.aliases]\nprevious = 1\n[asl.guard]\nmin_requests = 50\n",
    )
    said = rollout_file.read(models)["asl"]
    assert said == ModelRollout(
        stable=2,
        canary=3,
        canary_weight=1.0,
        sticky="off",
        keep=2,
        pin=7,
        aliases={"previous": 1},
        guard=Guard(min_requests=50),
    )
    assert said.named == {"stable": 2, "canary": 3, "previous": 1}
    assert said.versions == {1, 2, 3, 7}


def test_an_empty_table_says_nothing(tmp_path: Path) -> None:
    assert rollout_file.read(written(tmp_path, "[asl]\n")) == {"asl": NOTHING_SAID}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("stable = ", "not TOML"),
        ("[asl]\nstabel = 1", r"asl.stabel: Extra inputs"),
        ("stable = 1", "stable: Input should be"),
        ("[ASL]\nstable = 1", "ASL"),
        ('[asl]\nstable = "1"', "asl.stable: Input should be a valid integer"),
        ("[asl]\nstable = 0", "asl.stable: .*greater than or equal to 1"),
        ("[asl]\nstable = 1.5", "asl.stable"),
        ("[asl]\nstable = true", "asl.stable"),
        ("[asl]\ncanary = 2\ncanary_weight = 1.1", "asl.canary_weight: .*less than or equal to 1"),
        ("[asl]\ncanary = 2\ncanary_weight = nan", "asl.canary_weight"),
        ("[asl]\ncanary_weight = 0.1", "canary_weight needs a canary"),
        ("[asl]\nshadow_share = 0.1", "shadow_share needs a shadow"),
        ("[asl]\nstable = 2\ncanary = 2", "canary and stable are both version 2"),
        ('[asl]\nsticky = "cookie"', "asl.sticky: Input should be 'key', 'client' or 'off'"),
        ("[asl]\nkeep = 0", "asl.keep"),
        ("[asl.aliases]\n2 = 1", "asl.aliases.2"),
        ("[asl.aliases]\nstable = 1", "stable is a key of its own"),
        ("[asl.aliases]\n'..' = 1", "asl.aliases"),
        ("[asl.guard]\nmin_requests = 0", "asl.guard.min_requests"),
        ("[asl.guard]\nmax_p99 = 1", "asl.guard.max_p99: Extra inputs"),
    ],
)
def test_a_wrong_file_is_refused_naming_the_place(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(RolloutFileError, match=fault) as error:
        rollout_file.read(written(tmp_path, text))
    assert str(tmp_path / FILE) in str(error.value)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(RolloutFileError, match=r"asl.keep: .*; asl.stable: |asl.stable: .*; asl.keep: "):
        rollout_file.parsed("[asl]\nstable = 0\nkeep = 0")


def test_a_file_that_is_no_file_of_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"[asl]\nstable = 1 # \xff")
    with pytest.raises(RolloutFileError, match="not UTF-8"):
        rollout_file.read(tmp_path)


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(RolloutFileError, match="cannot be read"):
        rollout_file.read(tmp_path)


def test_an_endless_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RolloutFileError, match="at most 1,000,000 bytes"):
        rollout_file.read(written(tmp_path, "#" * 1_000_001))


def test_names_and_versions_that_are_not_there_are_named() -> None:
    known = {"asl": (1, 2)}
    check_versions({"asl": ModelRollout(stable=2)}, known)
    with pytest.raises(RolloutFileError, match="no model 'dogs'; there is: asl"):
        check_versions({"dogs": NOTHING_SAID}, known)
    with pytest.raises(RolloutFileError, match="'asl' has no version 3; there is: 1, 2"):
        check_versions({"asl": ModelRollout(stable=2, aliases={"next": 3})}, known)


def test_an_alias_is_written_where_there_was_no_file(tmp_path: Path) -> None:
    assert set_alias(tmp_path, "asl", "stable", 2) == {"asl": ModelRollout(stable=2)}
    assert (tmp_path / FILE).read_text() == "[asl]\nstable = 2\n"
    set_alias(tmp_path, "asl", "previous", 1)
    assert rollout_file.read(tmp_path)["asl"].named == {"stable": 2, "previous": 1}


def test_other_lines_and_comments_stay(tmp_path: Path) -> None:
    ours = "# ours\n[asl]\nstable = 1  # since May\n\n[asl.aliases]\nprevious = 1\n"
    text = ours + "[cifar-10]\n# theirs\nstable = 1 # too\n"
    written(tmp_path, text)
    set_alias(tmp_path, "asl", "stable", 2)
    assert (tmp_path / FILE).read_text() == text.replace("stable = 1  #", "stable = 2  #")
    set_alias(tmp_path, "cifar-10", "next", 9)
    assert (tmp_path / FILE).read_text().endswith("# theirs\nstable = 1 # too\n\n[cifar-10.aliases]\nnext = 9\n")


def test_several_values_change_together(tmp_path: Path) -> None:
    written(tmp_path, "[asl]\nstable = 1\ncanary = 2\ncanary_weight = 0.1\n")
    values = {"stable": 2, "canary": None, "canary_weight": None, "sticky": "client", "guard.max_p99_ms": 250.0}
    said = set_values(tmp_path, "asl", values)["asl"]
    assert said == ModelRollout(stable=2, sticky="client", guard=Guard(max_p99_ms=250.0))
    assert rollout_file.read(tmp_path)["asl"] == said


def test_a_value_that_is_not_there_is_taken_out_in_vain(tmp_path: Path) -> None:
    written(tmp_path, "[asl]\nstable = 1\n")
    assert set_alias(tmp_path, "asl", "canary", None) == {"asl": ModelRollout(stable=1)}
    assert set_alias(tmp_path, "asl", "previous", None) == {"asl": ModelRollout(stable=1)}


@pytest.mark.parametrize("alias", ["2", "UPPER", "a b", ".."])
def test_a_change_that_would_be_wrong_leaves_the_file_as_it_was(tmp_path: Path, alias: str) -> None:
    written(tmp_path, "[asl]\nstable = 1\n")
    with pytest.raises(RolloutFileError, match="left as it was"):
        set_alias(tmp_path, "asl", alias, 2)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_text() == "[asl]\nstable = 1\n"


def test_a_wrong_file_is_not_written_over(tmp_path: Path) -> None:
    written(tmp_path, "[asl]\nstable = ")
    with pytest.raises(RolloutFileError, match="not TOML"):
        set_alias(tmp_path, "asl", "stable", 2)
    assert (tmp_path / FILE).read_text() == "[asl]\nstable = "


def test_the_mode_of_the_file_stays_and_a_new_one_may_be_read_by_others(tmp_path: Path) -> None:
    set_alias(tmp_path, "asl", "stable", 1)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o644
    (tmp_path / FILE).chmod(0o600)
    set_alias(tmp_path, "asl", "stable", 2)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RolloutFileError, match="cannot be written"):
        set_alias(tmp_path / "missing", "asl", "stable", 1)
