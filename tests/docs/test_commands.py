"""Every command that a document shows is understood: targets exist, options parse, files to send are there."""

from __future__ import annotations

import re
import shlex

import pytest

from classifier.commands import COMMANDS
from classifier.commands.cli import load
from docs.tables import README, ROOT
from service.client.__main__ import parser

DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "articles").glob("*.md"))]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
CLIENT = ".venv/bin/python -m service.client "
SIGHTLINE = ".venv/bin/sightline "
SHOWN = [
    (document.name, line.split(" #")[0].strip())
    for document in DOCUMENTS
    for block in re.findall(r"```sh\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for line in re.sub(r"\\\n\s*", "", block).splitlines()
    if line.strip()
]


def beginning(*words: str) -> list[tuple[str, str]]:
    return [(document, command) for document, command in SHOWN if command.startswith(words)]


def test_commands_are_found_in_every_document_for_users():
    assert {"README.md", "api.md", "deploying.md", "operating.md", "training.md"} <= {document for document, _ in SHOWN}


@pytest.mark.parametrize(("document", "command"), beginning("make "))
def test_a_make_target_exists(document: str, command: str):
    assert command.split()[1] in TARGETS


@pytest.mark.parametrize(("document", "command"), beginning(SIGHTLINE))
def test_a_command_of_sightline_is_understood(document: str, command: str):
    name, *rest = shlex.split(command.removeprefix(SIGHTLINE))
    load(name, COMMANDS[name]).make_context(name, rest)


@pytest.mark.parametrize(("document", "command"), beginning(CLIENT))
def test_a_command_of_the_client_is_understood(document: str, command: str):
    parser().parse_args(shlex.split(command.removeprefix(CLIENT)))


@pytest.mark.parametrize(("document", "command"), SHOWN)
def test_our_commands_are_called_by_their_one_name(document: str, command: str):
    assert not re.search(r"-m (training|classifier)\b|(?<!bin/)\bsightline (?!:)", command)


FILES = [(document, path) for document, command in SHOWN for path in re.findall(r"@((?:docs/|[A-Z])[\w./-]*)", command)]


@pytest.mark.parametrize(("document", "path"), FILES)
def test_a_file_of_ours_that_is_sent_is_there(document: str, path: str):
    assert (ROOT / path).is_file()
