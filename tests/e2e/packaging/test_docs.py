"""What README and docs/ tell a person to type works, against a server with the shipped models."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from classifier import rollout_file
from classifier.card import NEWEST_FORMAT
from classifier.commands.cli import main
from classifier.engines.agreement import SAMPLE_TOLERANCE
from classifier.store import ModelStore
from tests.e2e.servers import ROOT, Server, serving, wait_until
from training.evaluation.scores import Evaluation

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", ROOT / "docs" / "api.md")}
USERS_OWN = ("my-photos", "cup.jpg")  # what only the reader has
READERS = "my-photos"  # what the reader has fitted, in versions 1 and 2


def blocks(language: str) -> list[object]:
    found = [
        pytest.param(block, id=f"{name}-{i}")
        for name, text in PAGES.items()
        for i, block in enumerate(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL))
    ]
    assert found
    return found


RELEASING = (ROOT / "docs" / "releasing.md").read_text(encoding="utf-8")
ADMIN_KEY = "the-key-of-an-operator"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest of the shipped models, to be changed, and two versions of what the reader has fitted."""
    store, shipped = ModelStore(tmp_path_factory.mktemp("shipped") / "models"), ModelStore(ROOT / "models")
    for name in shipped.versions():
        folder = shipped.folder(name, shipped.card(name).version)
        shutil.copytree(folder, store.root / name / folder.name)
    oldest = shipped.card("cats-vs-dogs", 1)
    for version in (1, 2):
        shutil.copytree(shipped.folder(oldest.name, 1), store.root / READERS / str(version))
        store.update(oldest.model_copy(update={"name": READERS, "version": version}))
    return store.root


@pytest.fixture(scope="module")
def shipped(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    (variable,) = re.findall(r"^(SIGHTLINE_\w+=\w+) .venv/bin/sightline serve$", RELEASING, flags=re.MULTILINE)
    keys = tmp_path_factory.mktemp("keys") / "admin"
    keys.write_text(ADMIN_KEY)
    environ = {"SIGHTLINE_MODELS": str(models), "SIGHTLINE_ADMIN_KEYS_FILE": str(keys)}
    with serving(tmp_path_factory.mktemp("bentoml"), environ=environ | dict([variable.split("=")])) as server:
        wait_until(server, "/readyz", 200)
        yield server


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.parametrize("block", blocks("sh"))
def test_every_curl_line_is_answered(block: str, shipped: Server, tmp_path: Path):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "README.md").symlink_to(ROOT / "README.md")
    for command in re.split(r"\n(?! )", block.replace("\\\n", "")):
        if "curl" not in command or any(word in command for word in USERS_OWN):
            continue
        ask(command, shipped, tmp_path)


def ask(command: str, server: Server, folder: Path) -> str:
    """Run a line with curl in it, typed in this folder. Raises CalledProcessError where the server refuses."""
    host = server.url.removeprefix("http://")
    script = command.replace("localhost:3000", host).replace("curl ", "curl --silent --show-error --fail ")
    environ = os.environ | {"ADMIN_KEY": ADMIN_KEY}
    words = ["bash", "-o", "pipefail", "-c", script]
    return subprocess.run(
        words, cwd=folder, env=environ, check=True, timeout=60, stdout=subprocess.PIPE
    ).stdout.decode()


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
    # The README shows float32 to two decimals; this processor may run bfloat16 or int8.
    expected = {
        p["label"]: pytest.approx(p["probability"], abs=SAMPLE_TOLERANCE["bfloat16"]) for p in shown["predictions"]
    }
    assert said == expected


def releasing(heading: str) -> list[tuple[str, str]]:
    """Language and text of each block of a section of docs/releasing.md, about a model that the reader has."""
    section = RELEASING.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```(sh|toml)\n(.*?)```", section, flags=re.DOTALL)


def follow(server: Server, models: Path, text: str) -> None:
    """Write the roll-out file, and wait until requests go where it says."""
    said = tomllib.loads(text)[READERS]
    (models / rollout_file.FILE).write_text(text)
    share = said.get("canary_weight", 0.0)
    weights = {str(said["stable"]): 1 - share} | ({str(said["canary"]): share} if share else {})
    wait_until(server, f"/v1/models/{READERS}", 200, json.dumps(weights, separators=(",", ":"))[1:-1])


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_walk_to_all_of_the_traffic_and_back_goes_there(shipped: Server, models: Path):
    (models / rollout_file.FILE).unlink(missing_ok=True)
    answered = []
    for language, text in releasing("To all of the traffic, and back"):
        if language == "toml":
            follow(shipped, models, text)
            continue
        for command in text.splitlines():
            if command.startswith("curl"):
                answered += re.findall(r"^x-model-version: (\d)", ask(command, shipped, ROOT), flags=re.MULTILINE)
    assert answered[0] in "12"
    assert answered[1:] == ["1"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_other_files_and_commands_of_releasing_are_taken(shipped: Server, models: Path):
    for heading in ("Which version answers", "Canaries and their guard"):
        ((_, text),) = releasing(heading)
        follow(shipped, models, text if "stable" in text else f"[{READERS}]\nstable = 2\n{text}")
    ((_, reload),) = releasing("Without a restart")
    assert json.loads(ask(reload, shipped, ROOT)) == {"loading": []}


def test_the_commands_that_look_for_drift_compare(
    shipped: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_MODELS", str(models))
    rows = np.eye(2, dtype=np.float32)[[0, 1]]
    store = ModelStore(models)
    expected = Evaluation(rows, np.array([0, 1])).expected("photos", "test")
    store.update(store.card(READERS).model_copy(update={"format": NEWEST_FORMAT, "expected": expected}))
    for language, text in releasing("Whether pictures change"):
        for command in text.splitlines() if language == "sh" else ():
            if command.startswith("curl"):
                ask(command, shipped, tmp_path)
            elif " drift " in command:
                arguments = shlex.split(command.replace("http://127.0.0.1:3000", shipped.url))[1:]
                assert main(arguments) == 0, capsys.readouterr().err
                assert "too few images" in capsys.readouterr().out
