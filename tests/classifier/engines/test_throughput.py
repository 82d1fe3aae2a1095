"""Promises of `classifier.engines.throughput`: the batch size is measured, also on a busy machine."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import numpy as np
import pytest

from classifier.engines import EngineOptions, open_engine
from classifier.engines.throughput import SIZES, best_batch, measure
from classifier.errors import OutOfMemory
from tests.classifier.engines import ENGINES
from tests.tiny_models import COLOUR


class Machine:
    """A fake machine: how long a batch takes is given, and its clock runs only while one does."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.now = 0.0
        self.ran: list[int] = []
        self._seconds = seconds

    def run(self, size: int) -> float:
        self.ran.append(size)
        took = self._seconds(size)
        self.now += took
        return took

    def best(self, budget_s: float = 0.15, sizes: tuple[int, ...] = SIZES) -> int:
        return best_batch(self.run, sizes, budget_s, lambda: self.now).max_batch


@pytest.mark.parametrize(
    ("batch_s", "image_s", "best"),
    [
        pytest.param(0.0, 1e-4, 1, id="company gains nothing"),
        pytest.param(1e-4, 1e-3, 2, id="gains a little"),
        pytest.param(1e-4, 1e-4, 16, id="gains much"),
        pytest.param(1e-2, 1e-6, 32, id="gains without end"),
    ],
)
def test_the_smallest_batch_within_five_percent_of_the_best_is_taken(batch_s, image_s, best):
    assert Machine(lambda size: batch_s + size * image_s).best(budget_s=1.0) == best


def test_the_speed_is_that_of_the_batch_that_was_taken():
    machine = Machine(lambda size: 1e-2 + size * 1e-3)
    best, images_per_s = best_batch(machine.run, (1, 2, 4), 1.0, lambda: machine.now)
    assert images_per_s == pytest.approx(best / (1e-2 + best * 1e-3))


def test_interruptions_do_not_change_the_choice():
    # Two runs of three are disturbed, by up to twenty times their time.
    noise = cycle([1.0, 20.0, 3.0, 7.0, 1.0, 5.0, 2.0, 1.0, 11.0, 4.0, 6.0, 1.0, 9.0])
    calm, busy = (Machine(lambda size, f=f: next(f) * (1e-4 + size * 1e-4)) for f in (cycle([1.0]), noise))
    assert busy.best(budget_s=2.0) == calm.best(budget_s=2.0)


@pytest.mark.parametrize("image_s", [1e-5, 1e-4, 1e-3, 1e-2])
def test_measuring_keeps_to_its_budget(image_s):
    machine = Machine(lambda size: size * image_s)
    machine.best(budget_s=0.15)
    assert machine.now <= 0.15 * 1.5


def test_a_network_whose_single_image_uses_the_budget_up_gets_batches_of_one():
    machine = Machine(lambda size: size * 3.0)
    assert (machine.best(), machine.ran) == (1, [1])


def test_large_batches_of_a_slow_network_are_not_even_tried():
    machine = Machine(lambda size: size * 5e-3)
    machine.best()
    assert max(machine.ran) == 4


def test_the_first_run_of_a_size_does_not_count():
    seen = set()

    def seconds(size: int) -> float:
        prepares = 0.0 if size in seen else 1e-2
        seen.add(size)
        return prepares + size * 1e-4

    assert Machine(seconds).best() == 1


def test_sizes_that_memory_is_short_for_are_left_out():
    def seconds(size: int) -> float:
        if size > 4:
            raise OutOfMemory("no memory")
        return 1e-2 + size * 1e-6

    assert Machine(seconds).best(budget_s=1.0) == 4


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_real_engine_is_measured_with_a_batch_in_every_stream(models, engine_name):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), EngineOptions(engine_name, "float32", 2))
    sizes, submit = [], engine.submit
    engine.submit = lambda pixels, **how: sizes.append(len(pixels)) or submit(pixels, **how)
    assert measure(engine, (8, 8, 3)).max_batch in SIZES
    engine.close()
    at_once = [tuple(sizes[start : start + engine.streams]) for start in range(0, len(sizes), engine.streams)]
    assert at_once[0] == (1,) * engine.streams
    assert set(at_once) <= {(size,) * engine.streams for size in SIZES}  # how many fit the budget, the machine decides


def test_no_batch_is_tried_that_is_larger_than_any_may_be(models):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), EngineOptions("openvino", "float32", 2))
    sizes, submit = set(), engine.submit
    engine.submit = lambda pixels, **how: sizes.add(len(pixels)) or submit(pixels, **how)
    assert measure(engine, (8, 8, 3), 5).max_batch in (1, 2, 4)
    engine.close()
    assert sizes == {1, 2, 4}


@pytest.mark.parametrize("engine_name", ENGINES)
def test_every_size_is_run_and_what_it_took_is_given_back(models, engine_name):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), EngineOptions(engine_name, "float32", 2))
    done, submit, release = [], engine.submit, engine.release_memory
    engine.submit = lambda pixels, **how: done.append(len(pixels)) or submit(pixels, **how)
    engine.release_memory = lambda: done.append("released") or release()
    best = measure(engine, (8, 8, 3)).max_batch
    engine.close()
    assert best in done
    assert (done[-1], done.count("released")) == ("released", 1)


def test_an_engine_answers_as_before_when_it_has_given_memory_back(models):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), EngineOptions("openvino", "float32", 2))
    before = engine.submit(pixels).result().probabilities
    engine.release_memory()
    assert (engine.submit(pixels).result().probabilities == before).all()
    engine.close()
    engine.release_memory()
