"""There is one version number, and whoever states one states that."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from service.api.oip import metadata
from service.client.protocol import Requests
from service.client.version import VERSION

ROOT = Path(__file__).parents[1]


def test_both_distributions_take_it_from_the_one_module() -> None:
    for folder, package in ((ROOT, "service.client"), (ROOT / "service" / "client", "sightline_client")):
        built = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        assert built["project"]["dynamic"] == ["version"]
        assert built["tool"]["setuptools"]["dynamic"]["version"] == {"attr": f"{package}.version.VERSION"}


def test_the_server_and_the_client_say_it() -> None:
    assert metadata.server()["version"] == VERSION
    agent = Requests("http://127.0.0.1:3000", None).ready().headers["user-agent"]
    assert agent == f"sightline-client/{VERSION}"


def test_the_newest_release_of_the_changelog_is_it() -> None:
    released = re.findall(
        r"^## (\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert released[0] == VERSION
