"""Fit a recipe: train, keep the epoch that the recipe says, and hand over what is to be saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from classifier.card import BackboneRecord, Precision
from training.backbones.features import FeatureSet, FrozenBackbone, cached_features
from training.datasets.dataset import Dataset, Examples
from training.fitting.backend import this_machine
from training.fitting.batches import Batches
from training.fitting.class_weights import Weights, class_weights
from training.fitting.distributed.opening import check_agreement, shared_history, usable
from training.fitting.distributed.replicas import Replicas
from training.fitting.epochs import train
from training.fitting.fitted import Fitted
from training.fitting.networks import copy_head, head_network, inference_network, inference_network_on, training_network
from training.fitting.on_features.flip_check import without_harmful_flip
from training.fitting.on_features.l2_path import train_along
from training.fitting.options import FitOptions, chosen_precision
from training.fitting.run import Epoch, FollowedRun, Run, best_epoch, kept_epoch
from training.recipes.recipe import Recipe, Statistics, statistics_of


def fit(recipe: Recipe, dataset: Dataset, options: FitOptions, replicas: Replicas | None = None) -> Fitted:
    """Train to the last epoch, resuming if asked, and return the kept epoch as an inference network.

    With patience the last epoch is the one that ends it. With `replicas` several devices share every batch, and the
    other workers call `assist` meanwhile.

    The same recipe, data, seed and precision on the same machine give the same history; a resumed run gives the history
    of an uninterrupted one. Raises RecipeError where the run folder belongs to another run, and BackboneError where
    pretrained weights cannot be had.
    """
    fitting = _begun(recipe, dataset, options, replicas)
    epochs = options.epochs or recipe.epochs
    seen = None
    if recipe.backbone is None:
        network = fitting.from_scratch(epochs)
    else:
        shape = recipe.input.shape
        seen = cached_features(
            recipe.backbone, shape, dataset, options.feature_folder, ("train", "validation"), options.progress
        )
        fitting = replace(fitting, recipe=without_harmful_flip(recipe, dataset, seen, options))
        network = fitting.on_backbone(seen, epochs)
    return Fitted(
        recipe=fitting.recipe,
        name=options.name,
        dataset=dataset,
        network=network,
        history=fitting.run.history,
        seed=options.seed,
        precision=fitting.precision,
        backbone=_backbone_record(recipe, seen),
        class_weights=fitting.weights,
        flip_left_out=fitting.recipe.augmentation != recipe.augmentation,
        patience=_patience(recipe, options),
        machines=tuple(fitting.run.machines),
        progress=options.progress,
    )


def assist(recipe: Recipe, dataset: Dataset, options: FitOptions, replicas: Replicas) -> None:
    """The part of a worker beside the chief: it learns in step with the others, and keeps nothing.

    Raises as `fit` does, and WorkerLost.
    """
    _begun(recipe, dataset, options, replicas).trained(options.epochs or recipe.epochs)


def _begun(recipe: Recipe, dataset: Dataset, options: FitOptions, replicas: Replicas | None) -> _Fitting:
    """What every worker of a fit begins with."""
    precision = chosen_precision(options.precision, recipe)
    weights = class_weights(recipe, dataset, options.class_weights)
    settings = _settings(recipe, dataset, options, precision, weights)
    replicas = usable(replicas, recipe)
    if replicas and not replicas.cluster.is_chief:
        run: Run = FollowedRun([])
    else:
        run = Run(
            options.run_folder,
            settings,
            resume=options.resume,
            restart=options.restart,
            heard=options.heard,
            machine=this_machine(),
        )
    if replicas:
        check_agreement(replicas, settings | {"epochs": options.epochs})
        run.history = shared_history(replicas, run.history)
    statistics = statistics_of(dataset, options.progress)
    return _Fitting(recipe, dataset, run, statistics, options, precision, weights, replicas)


def fit_head(recipe: Recipe, dataset: Dataset, seen: FeatureSet, options: FitOptions) -> tuple[Any, list[Epoch]]:
    """Only the head of a recipe on a frozen backbone: its best epoch, on features, and the history; resumable too."""
    settings = _settings(recipe, dataset, options, "float32", weights=None)
    run = Run(options.run_folder, settings, resume=options.resume)
    fitting = _Fitting(recipe, dataset, run, statistics_of(dataset), options, "float32", weights=None)
    head, _ = fitting.head(seen, options.epochs or recipe.epochs)
    run.restore(head, best_epoch(run.history).epoch)
    return head, run.history


@dataclass(frozen=True)
class _Fitting:
    """What every stage of one fit has in common."""

    recipe: Recipe
    dataset: Dataset
    run: Run
    statistics: Statistics
    options: FitOptions
    precision: Precision
    weights: Weights | None
    replicas: Replicas | None = None

    @property
    def classes(self) -> int:
        return len(self.dataset.labels)

    @property
    def kept(self) -> int:
        """The number of the epoch that is kept, of those there are."""
        return kept_epoch(self.run.history, keeps_last=self.recipe.keeps_last).epoch

    def from_scratch(self, epochs: int) -> Any:
        """The inference network of the kept epoch of a network whose weights were random."""
        network = self.trained(epochs)
        self.run.restore(network, self.kept)
        return inference_network(self.recipe, self.classes, self.statistics, network)

    def trained(self, epochs: int) -> Any:
        """A network whose weights were random, after its epochs."""
        recipe, splits = self.recipe, self.dataset.splits
        keras.utils.set_random_seed(self.options.seed)
        network = self.untrained()
        if recipe.initialise:
            recipe.initialise(network, splits["train"].pixels)
        batches = Batches(
            splits["train"],
            recipe.batch_size,
            seed=self.options.seed,
            steps=recipe.steps_per_epoch,
            alternating_flip=recipe.augmentation.alternates,
            replicas=self.replicas.count if self.replicas else 1,
        )
        callbacks = recipe.callbacks(epochs * len(batches)) if recipe.callbacks else ()
        self.train(network, batches, splits["validation"], until=epochs, callbacks=callbacks)
        return network

    def on_backbone(self, seen: FeatureSet, epochs: int) -> Any:
        """The inference network of the kept epoch of a head on a backbone, whichever stage the epoch belongs to."""
        planned = self.recipe.head_epochs(epochs)
        head, after = self.head(seen, planned)
        network = self.fine_tuned(head, after, after + epochs - planned) if epochs > planned else None
        if network is None or self.kept <= after:
            self.run.restore(head, self.kept)
            return self.frozen_with(head, seen)
        self.run.restore(network, self.kept)
        return inference_network(self.recipe, self.classes, self.statistics, network)

    def frozen_with(self, head: Any, seen: FeatureSet) -> Any:
        """The inference network of a head on the backbone as it was."""
        recipe = self.recipe
        assert recipe.backbone is not None  # noqa: S101  (there are features)
        frozen = seen.frozen or FrozenBackbone(recipe.backbone, recipe.input.shape)
        return inference_network_on(frozen.network, recipe, self.classes, self.statistics, head)

    def head(self, seen: FeatureSet, epochs: int) -> tuple[Any, int]:
        """The head after its epochs, trained on features or along the path of the recipe, and the last of them."""
        recipe, splits = self.recipe, seen.splits
        keras.utils.set_random_seed(self.options.seed)
        head = head_network(recipe, self.classes, self.statistics, width=splits["train"].inputs.shape[1])
        if recipe.l2:
            return head, train_along(
                recipe.l2,
                head,
                seen,
                self.run,
                self.weights,
                until=epochs,
                patience=_patience(recipe, self.options),
                progress=self.options.progress,
            )
        batches = Batches(splits["train"], recipe.batch_size, seed=self.options.seed, steps=recipe.steps_per_epoch)
        return head, self.train(head, batches, splits["validation"], until=epochs)

    def fine_tuned(self, head: Any, after: int, until: int) -> Any:
        """The whole network after its epochs, `after` + 1 to `until`, which begin from the head's best."""
        tuning, splits = self.recipe.fine_tuning, self.dataset.splits
        assert tuning is not None  # noqa: S101  (without it all epochs are the head's)
        batches = Batches(splits["train"], tuning.batch_size, seed=self.options.seed, steps=self.recipe.steps_per_epoch)
        callbacks = tuning.callbacks((until - after) * len(batches), after) if tuning.callbacks else ()

        def tuned(last: int, side: int | None = None) -> Any:
            begun = self.run.epochs > after
            best = best_epoch(self.run.history).epoch
            network = self.untrained(side) if begun else self.with_head_of(head, best, side)
            self.train(network, batches, splits["validation"], after=after, until=last, callbacks=callbacks)
            return network

        if tuning.reduced and self.run.epochs < (last := tuning.reduced.last_epoch(after, until)):
            network = tuned(last, tuning.reduced.side)
            if self.run.epochs < last:  # the time was over
                return network
        return tuned(until)

    def train(
        self,
        network: Any,
        batches: Batches,
        validation: Examples,
        *,
        after: int = 0,
        until: int,
        callbacks: Sequence[Any] = (),
    ) -> int:
        return train(
            network,
            batches,
            validation,
            self.run,
            self.weights,
            after=after,
            until=until,
            patience=_patience(self.recipe, self.options),
            deadline=self.options.deadline,
            progress=self.options.progress,
            callbacks=callbacks,
            replicas=self.replicas,
        )

    def with_head_of(self, head: Any, epoch: int, side: int | None) -> Any:
        """Backbone and head as one network, the head as it was after an epoch."""
        self.run.restore(head, epoch)
        network = self.untrained(side)
        copy_head(head, network)
        return network

    def untrained(self, side: int | None = None) -> Any:
        """The network as it is before its first epoch; a backbone is pretrained. See `training_network`."""
        if self.replicas is None:
            return training_network(self.recipe, self.classes, self.statistics, self.precision, side=side)
        with self.replicas.scope():
            network = training_network(self.recipe, self.classes, self.statistics, self.precision, side=side)
            network.optimizer.build(network.trainable_variables)
        return network


def _backbone_record(recipe: Recipe, seen: FeatureSet | None) -> BackboneRecord | None:
    if recipe.backbone is None or seen is None:
        return None
    return BackboneRecord(name=recipe.backbone.name, weights_sha256=seen.weights_sha256, seconds=round(seen.seconds, 1))


def _patience(recipe: Recipe, options: FitOptions) -> int | None:
    return recipe.patience if options.patience is None else options.patience or None


def _settings(
    recipe: Recipe, dataset: Dataset, options: FitOptions, precision: Precision, weights: Weights | None
) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "images": {label: sum(counts.values()) for label, counts in dataset.class_counts.items()},
        "seed": options.seed,
        "precision": precision,
        "batch_size": recipe.batch_size,
        "patience": _patience(recipe, options),
        "augmentation": recipe.augmentation.settings,
        "flip": options.flip,
        "class_weights": list(weights) if weights else None,
        **({"epochs": options.epochs or recipe.epochs} if recipe.has_schedule else {}),  # it follows from them
        **({"backbone": recipe.backbone.name} if recipe.backbone else {}),
        **({"l2": [recipe.l2.strongest, recipe.l2.ratio]} if recipe.l2 else {}),
    }
