from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.fitting.run import Epoch, Run, best_epoch, last_epoch, most_accurate_epoch, read_history, write_history
from training.recipes.recipe import RecipeError

SETTINGS = {"recipe": "asl-augmented", "seed": 0}


class Variable:
    """Behaves as a variable of Keras: one number."""

    shape = ()

    def __init__(self, value: float) -> None:
        self.value = value

    def numpy(self) -> np.ndarray:
        return np.array(self.value)

    def assign(self, value: np.ndarray) -> None:
        self.value = float(value)


class Network:
    """Behaves as a Keras network: its weights are one number."""

    def __init__(self, weight: float = 0.0) -> None:
        self.weights = [Variable(weight)]

    @property
    def weight(self) -> float:
        return self.weights[0].value


def epoch(number: int, val_loss: float, val_accuracy: float = 0.5) -> Epoch:
    return Epoch(number, 1.5, 0.7, 0.5, val_loss, val_accuracy)


def recorded(folder: Path, *losses: float) -> Run:
    run = Run(folder, SETTINGS, resume=False)
    for number, loss in enumerate(losses, start=1):
        run.record(epoch(number, loss), Network(number))
    return run


def test_a_history_is_read_as_it_was_written(tmp_path: Path):
    history = [epoch(1, 0.9), epoch(2, 0.812345)]
    write_history(history, tmp_path / "history.csv")
    assert read_history(tmp_path / "history.csv") == history


def test_each_epoch_that_is_kept_is_heard_of(tmp_path: Path):
    heard: list[Epoch] = []
    run = Run(tmp_path, SETTINGS, resume=False, heard=heard.append)
    for number, loss in enumerate((0.9, 0.8), start=1):
        run.record(epoch(number, loss), Network(number))
    assert heard == [epoch(1, 0.9), epoch(2, 0.8)]


def test_a_run_knows_the_machines_that_its_epochs_ran_on(tmp_path: Path):
    for number, machine in enumerate(("one", "one", "another"), start=1):
        run = Run(tmp_path, SETTINGS, resume=True, machine=machine)
        run.record(epoch(number, 0.9), Network(number))
    assert Run(tmp_path, SETTINGS, resume=True, machine="a third, which only saves").machines == ["one", "another"]


def test_a_run_compares_losses_as_its_file_has_them(tmp_path: Path):
    run = recorded(tmp_path, 0.5000004, 0.4999996)
    assert run.history == read_history(tmp_path / "history.csv")
    assert best_epoch(run.history).epoch == 1


def test_the_kept_epoch_is_the_first_with_the_lowest_validation_loss():
    assert best_epoch([epoch(1, 0.9), epoch(2, 0.5), epoch(3, 0.5)]).epoch == 2


def test_the_most_accurate_epoch_may_be_another_one():
    history = [epoch(1, 0.5, 0.80), epoch(2, 0.6, 0.85)]
    assert (best_epoch(history).epoch, most_accurate_epoch(history).epoch) == (1, 2)


def test_the_weights_of_the_best_and_the_last_epoch_are_kept_and_no_others(tmp_path: Path):
    recorded(tmp_path, 0.9, 0.4, 0.6, 0.7)
    assert sorted(p.name for p in tmp_path.glob("epoch*")) == ["epoch-0002.npz", "epoch-0004.npz"]


def test_a_resumed_run_goes_on_after_its_last_epoch(tmp_path: Path):
    recorded(tmp_path, 0.9, 0.4, 0.6)
    run, network = Run(tmp_path, SETTINGS, resume=True), Network()
    run.restore(network, run.epochs)
    assert (run.epochs, network.weight) == (3, 3.0)


def test_a_run_that_is_there_already_is_not_overwritten_unasked(tmp_path: Path):
    recorded(tmp_path, 0.9)
    with pytest.raises(RecipeError, match="--resume"):
        Run(tmp_path, SETTINGS, resume=False)


def test_a_run_cannot_be_resumed_with_other_settings(tmp_path: Path):
    recorded(tmp_path, 0.9)
    with pytest.raises(RecipeError, match="seed 0 -> 1"):
        Run(tmp_path, SETTINGS | {"seed": 1}, resume=True)


def test_a_kill_between_the_weights_and_the_history_costs_one_epoch_only(tmp_path: Path):
    recorded(tmp_path, 0.9, 0.4)
    (tmp_path / "epoch-0003.npz").write_bytes(b"weights, whose history row never came")
    run = Run(tmp_path, SETTINGS, resume=True)
    assert run.epochs == 2
    run.record(epoch(3, 0.5), Network(3.0))
    network = Network()
    run.restore(network, 3)
    assert network.weight == 3.0


@pytest.mark.parametrize("left", [0, 30, None], ids=["empty", "half", "gone"])
def test_weights_that_cannot_be_read_are_an_error_that_offers_to_begin_anew(left: int | None, tmp_path: Path):
    run = recorded(tmp_path, 0.9)
    kept = run.weights(1)
    body = kept.read_bytes()
    kept.unlink()
    if left is not None:
        kept.write_bytes(body[:left])
    with pytest.raises(RecipeError, match=r"epoch-0001\.npz: the weights kept there cannot be read .*--restart"):
        run.restore(Network(), 1)


def test_weights_of_another_network_are_refused(tmp_path: Path):
    run, other = recorded(tmp_path, 0.9), Network()
    other.weights.append(Variable(1.0))
    with pytest.raises(RecipeError, match="those of another network"):
        run.restore(other, 1)


PHOTOS = SETTINGS | {"fingerprint": "aa", "images": {"cup": 40, "plate": 40}}


def begun(folder: Path) -> None:
    Run(folder, PHOTOS, resume=False).record(epoch(1, 0.9), Network())


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({"cup": 41, "plate": 40}, r"images changed since \(cup has 41 instead of 40\)"),
        ({"cup": 40, "mug": 12}, r"plate has 0 instead of 40, mug has 12 instead of 0"),
        ({"cup": 40, "plate": 40}, r"as many, but not the same"),
    ],
    ids=["one more", "another class", "exchanged"],
)
def test_resuming_with_other_photos_says_what_changed_and_offers_to_begin_anew(
    images: dict[str, int], said: str, tmp_path: Path
):
    begun(tmp_path)
    with pytest.raises(RecipeError, match=rf"cannot be resumed: .*{said}.*--restart"):
        Run(tmp_path, PHOTOS | {"fingerprint": "bb", "images": images}, resume=True)


def test_a_restart_begins_anew_whatever_lies_there(tmp_path: Path):
    folder = tmp_path / "run"
    begun(folder)
    assert Run(folder, SETTINGS, resume=False, restart=True).epochs == 0
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_a_restart_removes_no_folder_that_holds_no_run(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("all I have")
    Run(tmp_path, SETTINGS, resume=False, restart=True)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("losses", "after", "patience", "last"),
    [
        ((5, 4, 3, 2, 1, 0), 0, 2, 6),
        ((5, 4, 4, 4, 1, 0), 0, 2, 4),
        ((5, 4, 4, 4, 1, 0), 0, 3, 6),
        ((5, 4, 4, 4, 1, 0), 0, None, 6),
        ((1, 2, 5, 4, 3, 2), 2, 2, 6),
        ((1, 2, 3, 4, 4, 2), 2, 2, 5),
        ((3, 3), 0, 2, 6),
    ],
    ids=["falls", "two equal", "more patience", "none", "each stage anew", "second stage", "not yet"],
)
def test_a_stage_ends_when_patience_does(losses: tuple[int, ...], after: int, patience: int | None, last: int):
    history = [epoch(number, float(loss)) for number, loss in enumerate(losses, start=1)]
    assert last_epoch(history, after, 6, patience) == last
