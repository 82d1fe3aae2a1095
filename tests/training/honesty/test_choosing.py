"""Promises of `training.honesty.choosing` and `honest`: a method is taken for what it tells apart, or none is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from classifier.card import InputSpec
from tests.tiny_models import tiny_network
from training.datasets import Dataset, Split

pytestmark = pytest.mark.slow

SPEC = InputSpec(height=16, width=16, channels=3)


def dataset(seed: int, count: int = 150, low: int = 100, high: int = 120) -> Dataset:
    """Grainy pictures of three brightnesses that rise from left to right, unlike anything that outliers show."""
    draw = np.random.default_rng(seed)
    rise = np.linspace(0, 60, SPEC.width)[:, None]

    def split(count: int) -> Split:
        labels = np.arange(count) % 3
        grain = draw.integers(low, high, (count, *SPEC.shape), np.uint8)
        return Split((grain + 30 * labels[:, None, None, None] + rise).astype(np.uint8), labels.astype(np.int64))

    splits = {"train": split(4 * count), "validation": split(count), "test": split(count)}
    return Dataset("grain", ("dark", "middle", "bright"), splits)


@pytest.fixture(scope="module")
def network() -> Any:
    return tiny_network(SPEC.shape, 3)


def test_what_tells_outliers_is_taken_and_everything_tried_is_recorded(network: Any):
    from training.honesty.choosing import GOOD, choose

    chosen, record = choose(network, dataset(1), SPEC)
    assert chosen is not None
    assert record is not None
    methods = {trial.method for trial in record.tried}
    assert {"maximum probability", "energy", "generalised entropy", "virtual logit"} < methods
    assert {"nearest neighbours", "mahalanobis", "relative mahalanobis"} < methods
    taken = next(t for t in record.tried if t.method == "mahalanobis" and t.features == chosen.features)
    assert taken.auroc >= GOOD
    assert record.images == 150
    assert taken.cost == pytest.approx(chosen.cost, abs=1e-6)
    assert chosen.cost <= record.most_cost
    assert taken.auroc == max(t.auroc for t in record.tried if t.cost is not None and t.cost <= record.most_cost)
    assert "the best" in record.reason


def test_where_nothing_tells_outliers_none_is_taken_and_the_record_says_so(network: Any, monkeypatch: Any):
    from training.honesty import choosing

    def genuine(spec: InputSpec, split: Split, count: int, seed: int = 0) -> Iterator[Any]:
        yield "more of the same", np.asarray(dataset(9, count).splits["test"].pixels)

    monkeypatch.setattr(choosing, "to_choose", genuine)
    chosen, record = choosing.choose(network, dataset(1), SPEC)
    assert chosen is None
    assert record is not None
    assert "none was taken" in record.reason


def test_what_costs_too_much_is_not_taken_however_well_it_tells(network: Any, monkeypatch: Any) -> None:
    from training.honesty import choosing

    monkeypatch.setattr(choosing, "FREE", 0)
    monkeypatch.setattr(choosing, "MOST_COST", 1e-6)
    chosen, record = choosing.choose(network, dataset(1), SPEC)
    assert chosen is None
    assert record is not None
    assert "costs more" in record.reason
    assert [trial for trial in record.tried if trial.cost is not None and trial.auroc >= choosing.GOOD]
    assert len({trial.features for trial in record.tried if trial.cost is not None}) == 1  # the others cost memory too


def test_one_kind_that_nothing_tells_does_not_speak_against_a_method_that_tells_the_others(
    network: Any, monkeypatch: Any
) -> None:
    from training.honesty import choosing

    made = choosing.to_choose

    def one_hard_kind(spec: InputSpec, split: Split, count: int, seed: int = 0) -> Iterator[Any]:
        yield from made(spec, split, count, seed)
        yield "more of the same", np.asarray(dataset(9, count).splits["test"].pixels)

    monkeypatch.setattr(choosing, "to_choose", one_hard_kind)
    chosen, record = choosing.choose(network, dataset(1), SPEC)
    assert chosen is not None
    assert record is not None
    assert {trial.worst for trial in record.tried if trial.method == "mahalanobis"} == {"more of the same"}
    assert "5 of 6 kinds" in record.reason


def test_too_few_images_are_left_as_they_are(network: Any):
    from training.honesty.honest import make_honest

    small = dataset(1, count=30)
    before = network(small.splits["validation"].pixels).numpy()
    honest = make_honest(network, small, SPEC, before)
    assert (honest.temperature, honest.chosen, honest.trial) == (None, None, None)
    answers = honest.run(small.splits["validation"].pixels)
    np.testing.assert_allclose(answers.probabilities, before, atol=1e-6)
    assert answers.familiarity is None


def test_an_honest_networks_card_says_what_was_done_and_what_it_is_worth():
    from training.honesty.honest import answers_to, honesty_of, make_honest
    from training.progress import Counted, silent

    network, data = tiny_network(SPEC.shape, 3), dataset(2)
    before = {name: network(data.splits[name].pixels).numpy() for name in ("validation", "test")}
    honest = make_honest(network, data, SPEC, before["validation"])
    after = {name: answers_to(honest.run, data.splits[name], Counted(silent, "", 150)) for name in before}
    others = {"black": np.zeros((20, *SPEC.shape), np.uint8)}
    fields = honesty_of(honest, data, SPEC, before, after, "test", others)
    calibration, familiarity = fields["calibration"], fields["familiarity"]
    assert calibration.after.loss.value < calibration.before.loss.value
    assert calibration.images == 150
    assert familiarity.point.keep == 0.95
    assert familiarity.point.rejected.value < 0.25
    assert familiarity.point.caught["black"].value == 1
    assert familiarity.auroc["black"].value > 0.95
    assert not set(familiarity.auroc) & set(fields["familiarity_trial"].outliers)
    np.testing.assert_array_equal(before["test"].argmax(axis=1), after["test"].probabilities.argmax(axis=1))
