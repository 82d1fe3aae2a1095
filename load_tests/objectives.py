"""The limits of slo.toml, and which of them a run has broken."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

PERCENTILES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
FIELDS = {*PERCENTILES, "error_rate"}

Limits = Mapping[str, Mapping[str, float]]


class Seen(NamedTuple):
    """What a run saw of one scenario at one model; `at` gives the milliseconds at a percentile, 0..1."""

    scenario: str
    name: str
    requests: int
    failures: int
    at: Callable[[float], float]

    def figures(self) -> dict[str, float]:
        return {field: self.at(share) for field, share in PERCENTILES.items()} | {"error_rate": self.error_rate}

    @property
    def error_rate(self) -> float:
        return self.failures / self.requests if self.requests else 0.0


def read(path: Path) -> Limits:
    """Limits by scenario. Raises ValueError where a limit is unknown or no number."""
    limits: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    for scenario, fields in limits.items():
        for field, value in fields.items():
            if field not in FIELDS or not isinstance(value, int | float):
                known = ", ".join(sorted(FIELDS))
                raise ValueError(f"{path}: {scenario!r} has {field} = {value!r}; expected a number for one of {known}")
    return limits


def broken(limits: Limits, seen: Iterator[Seen] | list[Seen]) -> Iterator[str]:
    """A line for every limit that was broken; what the limits do not name is free."""
    for one in seen:
        figures = one.figures()
        for field, limit in limits.get(one.scenario, {}).items():
            if figures[field] > limit:
                yield f"{one.name}: {field} is {figures[field]:g}, the limit {limit:g}"
