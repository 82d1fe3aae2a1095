"""What the server counts, the page that lists it, and the dashboard that shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from docs.tables import METRICS, metrics_page
from service.metrics import SERIES, Metrics

DASHBOARD = json.loads((Path(__file__).parents[2] / "deploy" / "grafana" / "sightline.json").read_text())
SAMPLES = {f"{series.name}{end}" for series in SERIES for end in ("", "_bucket", "_sum", "_count")}
ASKED = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("query", ASKED)
def test_every_panel_asks_for_series_that_there_are(query: str) -> None:
    named = set(re.findall(r"(?:sightline|bentoml_service)_\w+", query))
    assert named
    assert named <= SAMPLES


def test_every_metric_has_a_panel() -> None:
    shown = " ".join(ASKED)
    assert [series.name for series in SERIES if series.name not in shown] == []


def test_every_metric_of_ours_is_described() -> None:
    families = {family.name: family for family in Metrics().registry.collect()}
    ours = {name for name in families if name.startswith(("sightline_", "bentoml_service_"))}
    assert ours == {series.name.removesuffix("_total") for series in SERIES}
    assert [families[series.name.removesuffix("_total")].type for series in SERIES] == [s.kind for s in SERIES]


@pytest.mark.parametrize("query", ASKED)
def test_a_panel_uses_labels_that_there_are(query: str) -> None:
    known = {label for series in SERIES for label in series.labels} | {"le"}
    compared = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", query)
    grouped = [label.strip() for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(",")]
    assert {*compared, *grouped} <= known


def test_the_page_is_what_the_code_says() -> None:
    assert METRICS.read_text(encoding="utf-8") == metrics_page(), "run `make docs`"
