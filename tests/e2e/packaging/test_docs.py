"""What README and docs/ tell a person to type works, against a server with the shipped models."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from classifier.engines.agreement import SAMPLE_TOLERANCE
from tests.e2e.servers import ROOT, Server, serving, wait_until

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", ROOT / "docs" / "api.md")}
USERS_OWN = ("my-photos", "cup.jpg")  # what only the reader has


def blocks(language: str) -> list[object]:
    found = [
        pytest.param(block, id=f"{name}-{i}")
        for name, text in PAGES.items()
        for i, block in enumerate(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL))
    ]
    assert found
    return found


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("bentoml")) as server:
        wait_until(server, "/readyz", 200)
        yield server


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.parametrize("block", blocks("sh"))
def test_every_curl_line_is_answered(block: str, shipped: Server, tmp_path: Path):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "README.md").symlink_to(ROOT / "README.md")
    host = shipped.url.removeprefix("http://")
    for command in re.split(r"\n(?! )", block.replace("\\\n", "")):
        if "curl" not in command or any(word in command for word in USERS_OWN):
            continue
        script = command.replace("localhost:3000", host).replace("curl ", "curl --silent --show-error --fail ")
        subprocess.run(["bash", "-o", "pipefail", "-c", script], cwd=tmp_path, check=True, timeout=60)


@pytest.mark.parametrize("block", blocks("python"))
def test_every_python_snippet_runs(block: str, shipped: Server):
    code = block.replace("http://localhost:3000", shipped.url)
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=60)


def test_the_answer_shown_in_the_readme_is_the_servers(shipped: Server):
    import httpx

    shown = json.loads(re.findall(r"<!-- answer -->\n```json\n(.*?)```", README, flags=re.DOTALL)[0])
    body = (ROOT / "docs" / "chelsea.jpg").read_bytes()
    answer = httpx.post(f"{shipped.url}/v1/models/cats-vs-dogs/predict", content=body).json()
    said = {p["label"]: p["probability"] for p in answer["predictions"]}
    assert (answer["model"], answer["version"]) == (shown["model"], shown["version"])
    # The README shows float32 to two decimals; this processor may run bfloat16.
    expected = {
        p["label"]: pytest.approx(p["probability"], abs=SAMPLE_TOLERANCE["bfloat16"]) for p in shown["predictions"]
    }
    assert said == expected
