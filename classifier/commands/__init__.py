"""The commands of `sightline`: where each is written, and what the list of commands says of it.

A module is named, not imported, so that no room imports another one, and the list comes at once. Each has a docstring,
which is its help, and `run`. Typer reads the parameters of `run`; it returns the exit code, or None for 0.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A command by the module that holds it, and its line in the list of commands; a `rare` one is only named there."""

    module: str
    help: str
    rare: bool = False


CLASSIFIER = {
    "list": Command("classifier.commands.list_models", "List the trained models, with their accuracy."),
    "predict": Command("classifier.commands.predict", "Classify image files."),
    "score": Command("classifier.commands.score", "Classify any number of images into a table."),
    "explain": Command("classifier.commands.explain", "Draw what a decision rests on, over the image."),
    "verify": Command("classifier.commands.verify", "Check files and answers against the model cards."),
    "export": Command("classifier.commands.export", "Write a model for other servers or for phones."),
}

TRAINING = {
    "recipes": Command("training.commands.list_recipes", "List the recipes there are.", rare=True),
    "fetch": Command("training.commands.fetch", "Download a data set from its public source."),
    "check": Command("training.commands.checking.check", "Look for what is wrong with a data set."),
    "preview": Command("training.commands.preview", "Draw the images that a network will be fed."),
    "fit": Command("training.commands.fit", "Train a recipe and save a new version."),
    "evaluate": Command("training.commands.evaluate", "Measure a model on labelled images."),
    "compare": Command("training.commands.releasing.compare", "Compare two versions on the same images."),
    "release": Command("training.commands.releasing.release", "Release a version that keeps the policy."),
    "quantize": Command("training.commands.releasing.quantize", "Make a version that runs in int8.", rare=True),
    "recheck": Command("training.commands.recheck", "Compare a version's engines again.", rare=True),
    "learning-curve": Command(
        "training.commands.learning_curve", "Measure accuracy by number of training images.", rare=True
    ),
    "speed": Command("training.commands.speed", "Time how many images a second versions answer.", rare=True),
    "pipeline": Command("training.commands.pipeline", "Time a recipe's input pipeline and network.", rare=True),
    "report": Command("training.commands.report", "Write the comparison with the articles.", rare=True),
}

SERVICE = {
    "serve": Command("service.commands.serve", "Serve the models over HTTP."),
    "drift": Command("service.commands.drift", "Compare a server's answers with what the card expects."),
}

COMMANDS = SERVICE | CLASSIFIER | TRAINING

VERSION = "service.client.version"  # the module with the one version number
