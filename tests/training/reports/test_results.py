"""Promises of `training.reports.results`: the end of a fit says what its accuracy is worth, and how to go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.card import Card
from classifier.store import ModelStore
from tests.tiny_models import COLOUR
from training.evaluation.scores import Evaluation
from training.reports.results import SHOWN, metrics_lines, next_lines


@pytest.fixture
def card(tiny_models_root: Path) -> Card:
    return ModelStore(tiny_models_root).card(COLOUR)


def measured(card: Card, predicted: list[int], true: list[int], classes: int = 3) -> Card:
    answers = Evaluation(np.eye(classes, dtype=np.float32)[predicted], np.array(true))
    labels = tuple(f"class-{n}" for n in range(classes))
    return card.model_copy(update={"metrics": {"test": answers.metrics()}, "labels": labels})


def test_a_network_that_always_names_one_class_is_seen_to_do_so(card: Card) -> None:
    lines = metrics_lines(measured(card, [0] * 440, [0] * 400 + [1] * 40, classes=2))
    assert lines[0].startswith("test: accuracy 0.9091, loss ")
    assert lines[1:] == [
        "  balanced accuracy 0.5000, always naming the largest class 0.9091, 95 % interval 0.8786 to 0.9325",
        "  recall: class-0 1.0000, class-1 0.0000",
    ]


def test_few_test_images_are_said_to_be_few(card: Card) -> None:
    lines = metrics_lines(measured(card, [0, 1, 2, 2] * 5, [0, 1, 2, 1] * 5))
    assert lines[-1] == "note: 20 test images are few; of others 53% to 89% may be right"


def test_of_many_classes_those_with_the_lowest_recall_are_named(card: Card) -> None:
    true = list(range(30)) * 2
    predicted = [0 if at == 17 else label for at, label in enumerate(true)]
    line = metrics_lines(measured(card, predicted, true, classes=30))[2]
    assert line.startswith("  recall: class-17 0.5000, class-0 1.0000, ")
    assert line.endswith(f"; {30 - SHOWN} others are higher")


def test_a_card_that_says_less_gives_accuracy_and_loss_alone(card: Card) -> None:
    bare = card.metrics["test"].model_copy(
        update={"interval": None, "balanced_accuracy": None, "majority": None, "recall": None}
    )
    assert len(metrics_lines(card.model_copy(update={"metrics": {"test": bare}}))) == 1


def test_the_next_commands_can_be_copied_to_a_shell(card: Card) -> None:
    assert next_lines(card, None, Path("my_photos")) == [
        "next: sightline serve",
        f"next: sightline evaluate {COLOUR} --data my_photos",
        f"next: sightline release {COLOUR} --data my_photos",
    ]
    assert next_lines(card, Path("other models"), Path("it's"))[1] == (
        f"next: sightline evaluate {COLOUR} --data 'it'\"'\"'s' --models 'other models'"
    )
