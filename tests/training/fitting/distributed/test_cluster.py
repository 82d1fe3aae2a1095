"""`training.fitting.distributed.cluster`: what TF_CONFIG says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from training.fitting.distributed.cluster import ALONE, Cluster, cluster_of
from training.recipes.recipe import RecipeError


def environ(cluster: dict[str, list[str]], kind: str, index: int) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize("given", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}])
def test_without_other_workers_one_works_alone(given: dict[str, str]):
    assert cluster_of(given) == ALONE
    assert ALONE.is_chief


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "expected"),
    [
        ({"worker": ["a:1", "b:1"]}, "worker", 0, Cluster(2, 0)),
        ({"worker": ["a:1", "b:1"]}, "worker", 1, Cluster(2, 1)),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "chief", 0, Cluster(3, 0)),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "worker", 1, Cluster(3, 2)),
    ],
)
def test_the_chief_is_the_first(cluster: dict[str, list[str]], kind: str, index: int, expected: Cluster):
    assert cluster_of(environ(cluster, kind, index)) == expected
    assert expected.is_chief == (expected.number == 0)


@pytest.mark.parametrize(
    "given",
    [
        {"TF_CONFIG": "no JSON"},
        {"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'},
        environ({"worker": ["a:1", "b:1"]}, "evaluator", 0),
        environ({"worker": ["a:1", "b:1"]}, "worker", 2),
    ],
    ids=["no-json", "no-task", "another-kind", "too-many"],
)
def test_what_cannot_be_meant_is_named(given: dict[str, Any]):
    with pytest.raises(RecipeError, match="TF_CONFIG"):
        cluster_of(given)
