"""The limits that a load test is held to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from load_tests.objectives import FIELDS, Seen, broken, read

ROOT = Path(__file__).parents[2]
SLO = ROOT / "load_tests" / "slo.toml"


def seen(scenario: str = "metadata", requests: int = 100, failures: int = 0, ms: float = 10) -> Seen:
    return Seen(scenario, f"tiny {scenario}", requests, failures, lambda share: ms * share)


def test_every_scenario_has_every_limit():
    code = "from load_tests.generators.locustfile import SCENARIOS; import json; print(json.dumps(list(SCENARIOS)))"
    # In a process of its own: Locust rewrites the standard library when it is imported.
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    limits = read(SLO)
    assert set(limits) == set(json.loads(done.stdout))
    assert all(set(fields) == FIELDS for fields in limits.values())


def test_a_run_within_its_limits_breaks_none():
    assert not list(broken({"metadata": {"p50_ms": 5, "p95_ms": 9.5, "p99_ms": 9.9, "error_rate": 0}}, [seen()]))


@pytest.mark.parametrize(("field", "limit"), [("p50_ms", 4.9), ("p95_ms", 9.4), ("p99_ms", 9.8), ("error_rate", 0.01)])
def test_each_broken_limit_is_named_with_what_was_seen(field: str, limit: float):
    (line,) = broken({"metadata": {field: limit}}, [seen(failures=2)])
    assert line.startswith(f"tiny metadata: {field} is ")
    assert line.endswith(f"the limit {limit:g}")


def test_what_has_no_limit_is_free():
    assert not list(broken({"metadata": {"p50_ms": 1}}, [seen("predict form", ms=9999, failures=50)]))


def test_a_scenario_that_was_never_asked_has_no_errors():
    assert seen(requests=0).error_rate == 0


@pytest.mark.parametrize("text", ['["metadata"]\np42_ms = 1\n', '["metadata"]\np50_ms = "fast"\n'])
def test_a_limit_that_means_nothing_is_refused(tmp_path: Path, text: str):
    (tmp_path / "slo.toml").write_text(text)
    with pytest.raises(ValueError, match=r"slo\.toml: 'metadata' has p"):
        read(tmp_path / "slo.toml")
