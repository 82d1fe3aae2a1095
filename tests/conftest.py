"""What the tests of every room share: tiny models, time limits, and a word about quick tests that are not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from classifier.store import ModelStore
from tests.shared_folders import made_once
from tests.tiny_models import save_tiny_models

NOT_QUICK = ("slow", "e2e")
QUICK_S = 1.0  # a quick test takes less, on a machine that does nothing else
LIMIT_S = 600.0  # of a test that is not quick; pyproject.toml has the limit of all others

# Whoever starts the tests in the background has them ignore Ctrl-C. Programs that they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what is not quick more time, and begin with the files that may take longest, so that none is left over."""
    longest_s: dict[Path, float] = {}
    for item in items:
        if any(map(item.get_closest_marker, NOT_QUICK)) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMIT_S))
        limit = item.get_closest_marker("timeout")
        longest_s[item.path] = max(longest_s.get(item.path, 0), limit.args[0] if limit else 0)
    items.sort(key=lambda item: -longest_s[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note the processor time of the test, its ended child processes included: a busy machine does not stretch it."""
    began = sum(os.times()[:4])
    try:
        return (yield)
    finally:
        item.user_properties.append(("processor_s", sum(os.times()[:4]) - began))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the ten slowest of the tests that count as quick and are not. That is no failure."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    late = [r for r in reports if r.when == "call" and r.duration > QUICK_S and not set(NOT_QUICK) & set(r.keywords)]
    if late:
        terminalreporter.section(f"tests over {QUICK_S:g} s that are not marked slow")
        for report in sorted(late, key=lambda report: -report.duration)[:10]:
            processor_s = dict(report.user_properties)["processor_s"]
            terminalreporter.line(f"{report.duration:6.1f} s, {processor_s:5.1f} s of a processor  {report.nodeid}")


@pytest.fixture(scope="session")
def tiny_models_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `models` folder with `tiny-colour` versions 1 and 2 and `tiny-grey` version 1; read it, do not change it."""
    if made := os.environ.get("TINY_MODELS"):  # by the tests that started these: Keras on JAX does not export them
        return Path(made)
    return made_once(tmp_path_factory, "models", lambda root: save_tiny_models(ModelStore(root)))
