from __future__ import annotations

from pathlib import Path

import pytest

from service.client.version import VERSION
from service.settings import Settings
from service.telemetry.build import UNKNOWN, commit_of, this_build

HASH = "40eca60c0ffee0000000000000000000000000aa"


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_build_names_version_commit_and_engine() -> None:
    build = this_build(Settings(engine="tensorflow"))
    assert build == (VERSION, build.commit, "tensorflow")
    assert this_build(Settings()).engine in ("openvino", "tensorflow", "jax")


def test_an_image_says_its_commit_in_a_file(tmp_path: Path) -> None:
    written(tmp_path / "COMMIT", f"{HASH}\n")
    assert commit_of(tmp_path) == HASH


def test_a_bento_says_its_commit_in_a_label(tmp_path: Path) -> None:
    labels = f"labels:\n  project: sightline\n  version: 0.1.0\n  commit: {HASH}\n"
    text = f"service: service.app:Sightline\n{labels}models: []\n"
    written(tmp_path / "bento.yaml", text)
    (tmp_path / "src").mkdir()
    assert commit_of(tmp_path / "src") == HASH


@pytest.mark.parametrize("packed", [False, True])
def test_a_checkout_says_its_commit_by_its_branch(tmp_path: Path, packed: bool) -> None:
    git = tmp_path / ".git"
    written(git / "HEAD", "ref: refs/heads/main\n")
    if packed:
        written(git / "packed-refs", f"# pack-refs with: peeled fully-peeled sorted\n{HASH} refs/heads/main\n")
    else:
        written(git / "refs" / "heads" / "main", f"{HASH}\n")
    assert commit_of(tmp_path) == HASH


def test_a_checkout_without_a_branch_says_its_commit(tmp_path: Path) -> None:
    written(tmp_path / ".git" / "HEAD", f"{HASH}\n")
    assert commit_of(tmp_path) == HASH


def test_a_worktree_says_its_commit(tmp_path: Path) -> None:
    own = tmp_path / "main" / ".git" / "worktrees" / "other"
    written(own / "HEAD", "ref: refs/heads/other\n")
    written(own / "commondir", "../..\n")
    written(tmp_path / "main" / ".git" / "refs" / "heads" / "other", f"{HASH}\n")
    written(tmp_path / "other" / ".git", f"gitdir: {own}\n")
    assert commit_of(tmp_path / "other") == HASH


@pytest.mark.parametrize("text", ["", "main", "ref: refs/heads/none"])
def test_where_nothing_says_the_commit_it_is_unknown(tmp_path: Path, text: str) -> None:
    written(tmp_path / ".git" / "HEAD", text)
    assert commit_of(tmp_path) == UNKNOWN
    assert commit_of(tmp_path / "nowhere") == UNKNOWN
