"""What runs here: the version, the commit and the engine of this server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from classifier.engines import chosen_engine
from service.client.version import VERSION
from service.settings import Settings

UNKNOWN = "unknown"

_ROOT = Path(__file__).resolve().parents[2]
_LABEL_OF_BENTO = re.compile(r"^labels:\n(?:  .*\n)*?  commit: '?([0-9a-f]{7,64})\b", re.MULTILINE)
_HASH = re.compile(r"[0-9a-f]{7,64}")


class Build(NamedTuple):
    """`engine` is what runs the networks, as set or as found."""

    version: str
    commit: str
    engine: str


def this_build(settings: Settings) -> Build:
    return Build(VERSION, commit_of(_ROOT), chosen_engine(settings.engine))


def commit_of(root: Path) -> str:
    """The commit that code below `root` was built of, by what lies there; "unknown" where nothing says.

    An image has a file COMMIT, a Bento a label, a checkout its `.git`. No program is run for it.
    """
    for find in (_of_file, _of_bento, _of_git):
        try:
            found = find(root)
        except (OSError, UnicodeDecodeError):
            continue
        if _HASH.fullmatch(found):
            return found
    return UNKNOWN


def _of_file(root: Path) -> str:
    return (root / "COMMIT").read_text(encoding="ascii").strip()


def _of_bento(root: Path) -> str:
    found = _LABEL_OF_BENTO.search((root.parent / "bento.yaml").read_text(encoding="utf-8"))
    return found[1] if found else ""


def _of_git(root: Path) -> str:
    git = root / ".git"
    if git.is_file():  # of a worktree, whose folder lies elsewhere
        git = root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    head = (git / "HEAD").read_text(encoding="ascii").strip()
    if not head.startswith("ref:"):
        return head
    ref = head.removeprefix("ref:").strip()
    shared = git / "commondir"
    common = git / shared.read_text(encoding="utf-8").strip() if shared.exists() else git
    return _of_ref(common, ref)


def _of_ref(git: Path, ref: str) -> str:
    if (git / ref).exists():
        return (git / ref).read_text(encoding="ascii").strip()
    lines = (git / "packed-refs").read_text(encoding="ascii").splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), "")
