"""Train a recipe on its data or on your own photos; saves a new version."""

from __future__ import annotations

import glob
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from classifier.commands.parameters import folder_to_save_in, path, whole_number
from training.commands.parameters import (
    AugmentOption,
    Data,
    DropConflicts,
    Epochs,
    FitPrecision,
    Limit,
    Runs,
    check_tensorflow,
    recipe_names,
    resumable,
    stopped,
)

if TYPE_CHECKING:
    from classifier.card import Card
    from training.datasets.dataset import Dataset
    from training.fitting.auto import Search
    from training.fitting.distributed.cluster import Cluster
    from training.fitting.distributed.replicas import Replicas
    from training.fitting.fitted import Fitted
    from training.fitting.options import FitOptions
    from training.fitting.run import Epoch
    from training.recipes.recipe import Recipe

AUTO, MINUTES = "auto", 10  # what is typed in a recipe's place, and how long it may take
RECORDED = ("card.json", "history.csv", "curves.png", "confusion.png")


def _recipe_names(incomplete: str) -> list[str]:
    return [name for name in (AUTO, *recipe_names("")) if name.startswith(incomplete)]


def run(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help=f"auto ({MINUTES} minutes; else --minutes N), or see `sightline recipes`.",
            autocompletion=_recipe_names,
        ),
    ],
    data: Data,
    models: Annotated[
        Path,
        typer.Option(
            "--models",
            parser=path,
            default_factory=folder_to_save_in,
            metavar="DIR",
            help="The model store to save in.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model's; else the recipe's or folder's.")
    ] = None,
    epochs: Epochs = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of weights, order and augmentation.")] = 0,
    limit: Limit = None,
    backbone: Annotated[str | None, typer.Option(metavar="NAME", help="Not efficientnet-lite0.")] = None,
    precision: FitPrecision = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last complete epoch, also of JAX.")
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(parser=whole_number(2), metavar="K", help="Cross-validate with K networks; saves no version."),
    ] = None,
    augment: AugmentOption = None,
    drop_conflicts: DropConflicts = False,
    class_weights: Annotated[
        Literal["auto", "on", "off"], typer.Option(metavar="WHEN", hidden=True, help="auto, on or off.")
    ] = "auto",
    new_labels: Annotated[
        bool, typer.Option("--new-labels", hidden=True, help="The model may have other labels from now on.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", hidden=True, help="Begin anew where a stopped fit lies.")
    ] = False,
    patience: Annotated[
        int | None,
        typer.Option(parser=whole_number(0), metavar="N", hidden=True, help="Epochs without gain; 0: never stop."),
    ] = None,
    minutes: Annotated[
        int | None,
        typer.Option(parser=whole_number(1), metavar="N", hidden=True, help="That `fit auto` may take; else 10."),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", hidden=True, help="A line for each epoch.")] = False,
    runs: Runs = Path("runs"),
    record: Annotated[
        Path | None, typer.Option(parser=path, metavar="DIR", help="Also keep card, history and pictures there.")
    ] = None,
) -> None:
    from classifier.store import ModelStore
    from training.checking.check import check_decoded
    from training.datasets import Folders, load_dataset
    from training.fitting.backend import import_to_train, on_jax
    from training.fitting.distributed.cluster import cluster_of
    from training.progress import ProgressLines
    from training.reports.checking.text import warnings
    from training.reports.findings import findings
    from training.target import check_name, check_record, check_same_model, check_writable, claimed, claimed_run

    began, auto = time.monotonic(), recipe == AUTO
    cluster = cluster_of(os.environ)
    _check_backend(one_fit=not (auto or folds or cluster.workers > 1))
    _check_choices(cluster, resume, restart, folds)
    _check_auto(auto, minutes, one_network=not (epochs or folds or cluster.workers > 1))
    if name is not None:
        check_name(name)
    chosen = _recipe("finetuned" if auto else recipe, backbone).with_augmentation(augment or {})
    folders, progress = Folders(drop_conflicts=drop_conflicts), ProgressLines(sys.stdout)
    load = partial(load_dataset, data, chosen.reader, limit=limit, folders=folders, progress=progress)
    with resumable():
        dataset = load(chosen.input)
        named, name = name is not None, name or _model_name(chosen, dataset)
        check_record(record, chosen, dataset)
        if record:
            check_writable(record)
        if not folds:  # these save no version
            check_same_model(ModelStore(models), name, dataset, named=named, new_labels=new_labels)
        checked = check_decoded(dataset, progress)
        listing = runs / f"{name}.left-out.txt"
        said = [*findings(dataset, listing), *warnings(checked, data)]
        print("".join(f"{line}\n" for line in said), end="", flush=True)  # one write: who reads a line may be gone
        import_to_train()
        replicas = _joined(cluster)
    from training.fitting.auto import Search
    from training.fitting.options import FitOptions

    options = FitOptions(
        name=name,
        run_folder=runs / f"{name}.{AUTO if auto else chosen.name}.seed-{seed}",
        epochs=epochs,
        seed=seed,
        precision=precision,
        resume=resume,
        restart=restart,
        patience=patience,
        class_weights=class_weights,
        progress=progress,
        flip="as asked" if augment and "horizontal_flip" in augment else "auto",
        heard=_print_epoch if verbose else None,
    )
    if _flips_unasked(chosen, dataset, options):
        print(
            "note: images are flipped left to right; where that changes their class, say --augment flip=0", flush=True
        )
    if not cluster.is_chief:
        _assist(chosen, dataset, options, replicas)
        return
    with resumable(options.run_folder), claimed_run(options.run_folder):
        if folds:
            _cross_validate(chosen, dataset, options, folds, record)
        else:
            with claimed(models, name):
                ends, say = began + 60 * (minutes or MINUTES), partial(print, flush=True)
                search = Search(dataset, load, options, ends, say)
                fitted = (
                    _fit_auto(search, _recipe("features", backbone), chosen)
                    if auto
                    else _fit(chosen, dataset, options, replicas)
                )
                if on_jax():
                    _say_how_to_save(fitted, options)
                else:
                    _save_version(replace(fitted, data_check=checked.record), options, models, record, data)


def _check_backend(*, one_fit: bool) -> None:
    """Raise TrainingUnavailable or ModuleNotFoundError where the library under Keras is missing, or cannot do this."""
    from training.fitting.backend import TrainingUnavailable, check_jax, on_jax

    if not on_jax():
        check_tensorflow()
        return
    check_jax()
    if not one_fit:
        raise TrainingUnavailable(
            f"KERAS_BACKEND=jax trains one recipe on one machine; unset it for {AUTO}, --folds and TF_CONFIG"
        )


def _check_choices(cluster: Cluster, resume: bool, restart: bool, folds: int | None) -> None:
    """Raise BadParameter for options that exclude each other."""
    if resume and restart:
        raise typer.BadParameter("--resume continues a stopped fit and --restart begins anew; choose one")
    if folds and cluster.workers > 1:
        raise typer.BadParameter("--folds fits each network on one machine; unset TF_CONFIG")


def _check_auto(auto: bool, minutes: int | None, *, one_network: bool) -> None:
    """Raise BadParameter for what goes with `fit auto` alone, or not with it."""
    if auto and not one_network:
        raise typer.BadParameter(f"{AUTO} chooses the epochs, on one machine and without folds; else name a recipe")
    if minutes is not None and not auto:
        raise typer.BadParameter(f"--minutes is for `fit {AUTO}`; for a recipe say --epochs")


def _joined(cluster: Cluster) -> Replicas | None:
    """The devices that fit together, once all workers are there."""
    from training.fitting.backend import on_jax
    from training.fitting.distributed.replicas import replicas_of

    if on_jax():
        return None
    if cluster.workers > 1:
        print(f"{cluster}: waiting for the others", flush=True)
    return replicas_of(cluster)


def _assist(recipe: Recipe, dataset: Dataset, options: FitOptions, replicas: Replicas | None) -> None:
    """What a worker beside the chief does."""
    from training.fitting.fit import assist

    assert replicas is not None  # noqa: S101  (there is a chief)
    with resumable():
        assist(recipe, dataset, options, replicas)
    print(f"{replicas.cluster}: done; the chief saves the version", flush=True)


def _recipe(name: str, backbone: str | None) -> Recipe:
    from training.backbones import backbone_named
    from training.recipes import recipe_named
    from training.recipes.recipe import RecipeError

    recipe = recipe_named(name, AUTO)
    if backbone is None:
        return recipe
    if recipe.backbone is None:
        raise RecipeError(f"{recipe.name} trains from scratch; --backbone is for the recipes on a pretrained network")
    return replace(recipe, backbone=backbone_named(backbone))


def _flips_unasked(recipe: Recipe, dataset: Dataset, options: FitOptions) -> bool:
    """Whether images will be flipped by a recipe that has no features to ask whether that changes the class."""
    unasked = options.flip == "auto" and not recipe.is_of_the_article(dataset)
    return unasked and recipe.backbone is None and recipe.augmentation.horizontal_flip


def _model_name(recipe: Recipe, dataset: Dataset) -> str:
    if dataset.name == recipe.reader.name:
        return recipe.model
    return re.sub(r"[^a-z0-9]+", "-", dataset.name.lower()).strip("-")[:64].strip("-") or "my-model"


def _fit(recipe: Recipe, dataset: Dataset, options: FitOptions, replicas: Replicas | None) -> Fitted:
    from training.fitting.fit import fit

    fitted, planned = fit(recipe, dataset, options, replicas), options.epochs or recipe.epochs
    if len(fitted.history) < planned:
        print(f"note: stopped, since epochs gained nothing more; --patience 0 trains all {planned}")
    return fitted


def _fit_auto(search: Search, features: Recipe, finetuned: Recipe) -> Fitted:
    """What validation chooses, after a line on each recipe tried; and a line on which photos would help most."""
    from training.backbones.features import cached_features
    from training.fitting.auto import fit_auto, title
    from training.fitting.on_features.advice import most_wanted
    from training.reports.results import advice_line

    fitted, options = fit_auto(search, features, finetuned), search.options
    print(f"chosen: {title(fitted.recipe)}, by validation loss")
    recipe, dataset = fitted.recipe, fitted.dataset
    assert recipe.backbone is not None  # noqa: S101  (all that is tried has one)
    known = ("train", "validation")
    seen = cached_features(recipe.backbone, recipe.input.shape, dataset, options.feature_folder, known)
    print(advice_line(dataset, most_wanted(seen.together)), flush=True)
    return fitted


def _say_how_to_save(fitted: Fitted, options: FitOptions) -> None:
    """The precision may be another one by itself where the version is saved."""
    print(
        f"trained {len(fitted.history)} epochs, kept in {options.run_folder}; to save the version, where TensorFlow is "
        f"installed: the same command without KERAS_BACKEND, with --resume --precision {fitted.precision}",
        flush=True,
    )


def _save_version(fitted: Fitted, options: FitOptions, models: Path, record: Path | None, data: Path) -> None:
    from classifier.store import ModelStore
    from training.export import save_version
    from training.reports.results import metrics_lines, next_lines

    store = ModelStore(models)
    if fitted.flip_left_out:
        print(
            "note: images were not flipped, since a flipped one belongs to another class; --augment flip=1 flips them"
        )
    if fitted.class_weights:
        print("note: rare classes were weighed up; --class-weights off counts all images alike")
    card = save_version(store, fitted)
    saved = store.folder(card.name, card.version)
    runs = options.run_folder.parent.glob(f"{glob.escape(options.run_folder.name)}.*")  # those of `fit auto`
    for run in (options.run_folder, *runs):
        shutil.rmtree(run, ignore_errors=True)  # the version holds all that it was for
    with _although(f"{saved} is saved"):
        print("\n".join(metrics_lines(card)))
        _show_mistakes(fitted, card, options.run_folder.parent / f"{card.name}-{card.version}")
        if record:
            _record(saved, record / _kept_as(fitted.recipe, fitted.dataset, card))
        print(f"saved {saved} (epoch {card.training.best_epoch} of {card.training.epochs_run})")
        print("\n".join(next_lines(card, models if models != folder_to_save_in() else None, data)), flush=True)


def _print_epoch(row: Epoch) -> None:
    print(
        f"epoch {row.epoch}: loss {row.loss:.4f}, accuracy {row.accuracy:.4f}; validation loss {row.val_loss:.4f}, "
        f"accuracy {row.val_accuracy:.4f}; {row.seconds:.1f} s",
        flush=True,
    )


@contextmanager
def _although(saved: str) -> Iterator[None]:
    """Whatever ends the fit once its version is there, say so."""
    try:
        with stopped(lambda: saved):
            yield
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; yet {saved}", file=sys.stderr)
        raise typer.Exit(1) from None


def _kept_as(recipe: Recipe, dataset: Dataset, card: Card) -> Path:
    """Where a record lies: by recipe and seed for a comparison with the article, else by model and version."""
    if recipe.is_of_the_article(dataset):
        return Path(recipe.name, f"seed-{card.training.seed}")
    return Path(f"{card.name}-{card.version}")


def _show_mistakes(fitted: Fitted, card: Card, to: Path) -> None:
    """Write the mistakes on somebody's own photos, whose names are known, and say where they lie.

    They have the probabilities that are served, which are those of the fitted network at the card's temperature.
    """
    from training.evaluation.scores import Evaluation
    from training.reports.mistakes import LISTING, SHEET, mistakes_of, write_mistakes

    split = fitted.dataset.splits[fitted.held_out]
    answers = Evaluation(fitted.answers[fitted.held_out], split.labels)
    temperature = card.calibration.temperature if card.calibration else 1.0
    if mistakes := mistakes_of(split, answers, fitted.dataset.labels, temperature):
        write_mistakes(mistakes, split, to, f"{fitted.name}: {fitted.held_out}, mistakes with the highest probability")
        print(f"mistakes on {len(mistakes):,} {fitted.held_out} images: {to / SHEET}, {to / LISTING}")


def _record(version: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for file in RECORDED:
        shutil.copyfile(version / file, to / file)


def _cross_validate(recipe: Recipe, dataset: Dataset, options: FitOptions, folds: int, record: Path | None) -> None:
    from training.evaluation.cross_validation import fit_folds, fold_folder
    from training.evaluation.folds import FoldsRecord, write_folds

    done = []
    for fold, history in fit_folds(recipe, dataset, options, folds):
        done.append((fold, history))
        accuracies = ", ".join(f"{split} accuracy {m.accuracy:.4f}" for split, m in fold.metrics.items())
        print(f"fold {len(done)} of {folds}: {accuracies} (epoch {fold.best_epoch} of {fold.epochs_run})")
    found = FoldsRecord.of(recipe, dataset, options, [fold for fold, _ in done])
    for split, spread in found.accuracy.items():
        print(f"{split}: accuracy {spread.mean:.4f}, standard deviation {spread.deviation:.4f} over {len(done)} folds")
    if record:
        of_article = Path(recipe.name, f"folds-{folds}-seed-{options.seed}")
        own = f"{options.name}.{recipe.name}.folds-{folds}-seed-{options.seed}"
        to = record / (of_article if recipe.is_of_the_article(dataset) else own)
        print(f"recorded {write_folds(found, [history for _, history in done], to)}")
    for fold_number in range(1, folds + 1):
        shutil.rmtree(fold_folder(options.run_folder, fold_number, folds))
