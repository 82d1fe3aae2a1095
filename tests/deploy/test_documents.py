"""docs/deploying.md says of each command whether CI runs it, and names files that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.strip()]
NAMED = re.findall(r"`((?:deploy|docs|tests|requirements)/[\w./-]+)`", TEXT)
SCRIPTS = sorted((ROOT / "deploy").rglob("*.sh"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_whether_ci_runs_it(command: str) -> None:
    assert re.search(r"# (run in CI|not run here|rendered (and validated )?in CI, not applied)", command)


@pytest.mark.parametrize("path", NAMED)
def test_a_named_file_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", TEXT))
def test_a_link_leads_somewhere(link: str) -> None:
    path, _, heading = link.partition("#")
    text = (ROOT / "docs" / path).read_text(encoding="utf-8") if path else TEXT
    headings = {found.lower().replace(" ", "-") for found in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}
    assert not heading or heading in headings


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_a_script_can_be_read_by_its_shell(script: Path) -> None:
    subprocess.run([shutil.which("bash") or "bash", "-n", script], check=True)
