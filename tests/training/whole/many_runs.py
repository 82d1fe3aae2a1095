"""A hundred and more fits as people try them: odd folders, odd files, every option, and commands one after the other.

`python -m tests.training.whole.many_runs` runs those that its record lacks. Each must end as it should, without a
traceback; what fails must say why in one line; every version must be taken by a server; and no image may be lost
silently: those of the card and those that are said to be left out make up the folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import IO, Any

import pytest

from classifier import provenance
from classifier.card import Card
from classifier.store import ModelStore
from load_tests import record
from service.inference.catalog import Catalog
from service.settings import Settings
from tests.training.tiny_backbone import on_tiny
from tests.training.whole.situations import SITUATIONS, Situation
from training.__main__ import main as training
from training.datasets.decoding import IMAGE_ENDINGS
from training.recipes import FOR_ANY_IMAGES

RECORD = record.RESULTS / "many-runs.json"


class Fault(AssertionError):
    """What a run did that it should not."""


def tried(situation: Situation, home: Path) -> list[str]:
    """Run a situation in an empty folder, which becomes the working folder; returns what its commands said.

    Raises Fault.
    """
    home.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(home), pytest.MonkeyPatch.context() as patch:
        if not situation.real_backbone:
            for name in FOR_ANY_IMAGES:
                patch.setitem(FOR_ANY_IMAGES, name, on_tiny(name))
        patch.setenv("HOME", str(home))
        situation.make(home)
        said = [_run(command, wanted) for command, wanted in situation.commands]
        _check_store(home, situation, said)
    if situation.says and not any(situation.says in each for each in said):
        raise Fault(f"said nothing of {situation.says!r}: {said}")
    return said


def _run(command: list[str], wanted: int) -> str:
    with _stream() as out, _stream() as err:
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = training(command)
        except BaseException as error:
            raise Fault(f"{command}: {_lines(error)}") from error
        printed, errors = _text(out), _text(err).splitlines()
    said = "\n".join([printed, *errors])
    if code != wanted:
        raise Fault(f"{command}: exit code {code}, expected {wanted}: {said}")
    if "Traceback" in said:
        raise Fault(f"{command}: a traceback: {said}")
    if code and (len(errors) != 1 or not errors[0].startswith("error: ")):
        raise Fault(f"{command}: expected one line that begins with error:, got {errors}")
    return said


def _lines(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _stream() -> IO[str]:
    """A file, since commands may want the number of their stream."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace")


def _text(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()


def _check_store(home: Path, situation: Situation, said: list[str]) -> None:
    store = ModelStore(home / "models")
    versions = [(name, version) for name, numbers in store.versions().items() for version in numbers]
    if len(versions) != situation.versions:
        raise Fault(f"{len(versions)} versions instead of {situation.versions}: {said}")
    if left := [str(path) for pattern in (".draft-*", "*.half", "*.half.*") for path in home.rglob(pattern)]:
        raise Fault(f"left behind: {left}")
    for name, version in versions:
        card = store.verify(name, version)
        if situation.counted:
            _check_nothing_is_lost(home / situation.counted, card, said)
    if versions and (refused := asyncio.run(_refused(store.root))):
        raise Fault(f"a server refuses: {refused}")


def _check_nothing_is_lost(photos: Path, card: Card, said: list[str]) -> None:
    walked = (Path(folder, file) for folder, _, files in os.walk(photos, followlinks=True) for file in files)
    files = sum(1 for path in walked if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith("."))
    fitted = sum(card.training.dataset.images.values())
    found = re.search(r"^([\d,]+) files? (?:is|are) left out", said[0], flags=re.MULTILINE)
    left_out = int(found[1].replace(",", "")) if found else 0
    if fitted + left_out < files:
        raise Fault(f"{files} images, of which {fitted} were fitted and {left_out} named: {said[0]}")


async def _refused(models: Path) -> str:
    catalog = Catalog(Settings(models=models, engine="openvino"))
    await catalog.load()
    try:
        return "; ".join(reason for _, _, reason in catalog.broken())
    finally:
        await catalog.close()


def outcome(situation: Situation) -> dict[str, Any]:
    """What came of a situation, for the record."""
    began, fault = time.monotonic(), ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            tried(situation, Path(folder) / "home")
        except Fault as found:
            fault = str(found)
    return {"name": situation.name, "fault": fault, "seconds": round(time.monotonic() - began, 1)}


def main(names: list[str], to: Path) -> int:
    import keras

    content: dict[str, Any] = record.read(to) or {}
    session = provenance.of_this_run(("tensorflow", "keras", "openvino")).as_json()
    done: dict[str, Any] = {each["name"]: each for each in content.get("runs", ()) if not each["fault"]}
    for situation in SITUATIONS:
        if situation.name not in done and (not names or situation.name in names):
            keras.backend.clear_session()  # or each network would stay in memory
            done[situation.name] = outcome(situation) | {"commit": session["commit"], "date": session["date"]}
            found = done[situation.name]
            sys.stdout.write(f"{found['seconds']:6.1f} s  {situation.name}: {found['fault'] or 'as it should'}\n")
            sys.stdout.flush()
            record.write(to, session | {"runs": list(done.values())})
    faults = [each for each in done.values() if each["fault"]]
    sys.stdout.write(f"{len(done)} of {len(SITUATIONS)} situations, {len(faults)} with a fault\n")
    return 1 if faults else 0


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", help="only these situations")
    asked.add_argument("--out", type=Path, default=RECORD)
    options = asked.parse_args()
    sys.exit(main(options.names, options.out))
