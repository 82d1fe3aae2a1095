"""Prometheus with the configuration of deploy/prometheus/, its alert rules, and the parts of deploy/compose.yaml."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.metrics import SERIES
from service.settings import Settings, describe
from tests.e2e.servers import free_port, serving, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
ALERTING = [rule for rule in RULES if "alert" in rule]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SAMPLES = {f"{series.name}{end}" for series in SERIES for end in ("", "_bucket", "_sum", "_count")}
TEST_FILES = sorted(PROMETHEUS.glob("*_test.yml"))
TESTS = [test for path in TEST_FILES for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]]

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool")


@needs_promtool
@pytest.mark.slow
@pytest.mark.parametrize("command", ["check config prometheus.yml", *(f"test rules {p.name}" for p in TEST_FILES)])
def test_promtool_accepts(command: str) -> None:
    whole = ["promtool", *command.split()]
    done = subprocess.run(whole, cwd=PROMETHEUS, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=[rule.get("alert") or rule["record"] for rule in RULES])
def test_a_rule_asks_for_series_that_there_are(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\b(?:sightline|bentoml_service|process)_\w+", rule["expr"]))
    assert named <= SAMPLES | {"process_resident_memory_bytes"}
    recorded = set(re.findall(r"sightline:[\w:]+", rule["expr"]))
    assert recorded <= {other.get("record") for other in RULES}


@pytest.mark.parametrize("rule", ALERTING, ids=[rule["alert"] for rule in ALERTING])
def test_an_alert_is_shown_to_rise_and_to_stay_down(rule: dict[str, Any]) -> None:
    tried = [case for test in TESTS for case in test["alert_rule_test"] if case["alertname"] == rule["alert"]]
    assert {bool(case.get("exp_alerts")) for case in tried} == {True, False}
    assert {"summary", "description"} <= rule["annotations"].keys()


@pytest.mark.e2e
@pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus")
def test_prometheus_scrapes_a_server_and_evaluates_the_rules(tiny_models_root: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, configuration)
    with serving(tmp_path / "bentoml", environ={"SIGHTLINE_MODELS": str(tiny_models_root)}) as server:
        wait_until(server, "/readyz", 200)
        target = [{"targets": [server.url.removeprefix("http://")]}]
        (configuration / "targets" / "sightline.yml").write_text(json.dumps(target))  # JSON is YAML too
        port = free_port()
        command = [
            "prometheus",
            f"--config.file={configuration}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
        ]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            found = _ask(port, 'sightline_model_info{job="sightline"}', timeout_s=60)
            assert found, (tmp_path / "log").read_text()[-2000:]
            rules = httpx.get(f"http://127.0.0.1:{port}/api/v1/rules", trust_env=False).json()["data"]["groups"]
            assert sum(len(group["rules"]) for group in rules) == len(RULES)
            assert not [rule for group in rules for rule in group["rules"] if rule["health"] == "err"]
        finally:
            process.terminate()
            process.wait(30)


def _ask(port: int, query: str, timeout_s: float) -> list[Any]:
    """The series that answer, as soon as there are any."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        try:
            url = f"http://127.0.0.1:{port}/api/v1/query"
            found: list[Any] = httpx.get(url, params={"query": query}, trust_env=False).json()["data"]["result"]
            if found:
                return found
        except (httpx.TransportError, ValueError):
            pass
        time.sleep(0.5)
    return []


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_of_the_composition_is_hardened(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert "mem_limit" in service


def test_files_that_the_composition_mounts_are_there() -> None:
    mounts = [mount for service in COMPOSE["services"].values() for mount in service.get("volumes", [])]
    ours = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert len(ours) >= 4
    assert [path for path in ours if not (DEPLOY / path).exists()] == []


def test_the_composition_names_settings_that_there_are() -> None:
    given = COMPOSE["services"]["sightline"]["environment"].keys()
    assert set(given) <= {row.variable for row in describe()}


def test_the_composition_fills_in_the_whole_template_of_nginx() -> None:
    template = (DEPLOY / "nginx" / "sightline.conf.template").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+)\}", template)) == COMPOSE["services"]["nginx"]["environment"].keys()


def test_nginx_closes_idle_connections_before_the_server_does() -> None:
    template = (DEPLOY / "nginx" / "sightline.conf.template").read_text(encoding="utf-8")
    upstream = template[template.index("upstream sightline") : template.index("map ")]
    seconds = re.search(r"keepalive_timeout (\d+)s;", upstream)
    assert seconds
    assert int(seconds[1]) < Settings().keep_alive_ms / 1000


def test_prometheus_and_grafana_know_the_names_of_the_composition() -> None:
    (target,) = yaml.safe_load((PROMETHEUS / "targets" / "sightline.yml").read_text(encoding="utf-8"))
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    hosts = [target["targets"][0].split(":")[0], source["url"].removeprefix("http://").split(":")[0]]
    assert set(hosts) <= COMPOSE["services"].keys()
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/sightline.yml").read_text())["providers"]
    mounted = [mount.split(":")[1] for mount in COMPOSE["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/sightline.json" in mounted
