"""From trained weights to a version in the store: Keras file, ONNX file, both checked, pictures and card."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from classifier import provenance, store
from classifier.card import (
    AgreementCheck,
    Card,
    FamiliarityRecord,
    FileRecord,
    InputSpec,
    Precision,
    Sample,
    TrainingRecord,
)
from classifier.engines import Answers, EngineOptions, Familiarity, Probabilities, open_engine
from classifier.engines.agreement import SAMPLE_TOLERANCE
from classifier.engines.openvino import supports_bfloat16, supports_int8
from classifier.errors import SightlineError
from classifier.images import encode_png, from_array
from classifier.loaded_model import LoadedModel
from training.datasets.dataset import Dataset, Split
from training.evaluation.fitted_images import write_fitted_images
from training.evaluation.scores import Evaluation
from training.fitting.fitted import LIBRARIES, Fitted
from training.fitting.run import write_history
from training.honesty.honest import answers_to, honesty_of, make_honest
from training.onnx_folding import fold_scale, name_outputs
from training.progress import Counted, Progress, silent
from training.reports.plots import draw_confusion, draw_curves
from training.saving import saving

MAX_FAMILIARITY_DIFFERENCE = 1e-3
MAX_EXPORT_DIFFERENCE = 1e-4  # float32 in another order of summation; a wrong export is off by orders more


class BadExport(SightlineError):
    """The exported network does not answer as the trained one; nothing was saved."""

    code = "bad-export"
    title = "The export does not match"


def save_version(models: store.ModelStore, fitted: Fitted) -> Card:
    """Export, check against the Keras network on the evaluation images, and add the version to the store.

    Raises BadExport when the ONNX network's answers differ by more than 1e-4 or in a top class, and NotSaved where the
    system does not let it be written; then there is no new version.
    """
    with saving("the version", models.root):
        return models.save(fitted.name, lambda folder: _fill(folder, fitted))


def _fill(folder: Path, fitted: Fitted) -> Card:
    dataset, held_out = fitted.dataset, fitted.held_out
    parts = write_networks(
        folder, fitted.network, dataset, fitted.recipe.input, fitted.answers, held_out, fitted.progress
    )
    title = f"{fitted.recipe.name}, seed {fitted.seed}"
    draw_curves(fitted.history, fitted.kept, folder / "curves.png", title)
    draw_confusion(parts.held_out.confusion, dataset.labels, folder / "confusion.png", f"{title}: {held_out}")
    write_history(fitted.history, folder / store.HISTORY)
    write_fitted_images(dataset, folder / store.FITTED_ON)
    return checked(_card(fitted, parts), folder, held_out, dataset.splits[held_out], parts, fitted.progress)


@dataclass(frozen=True)
class Written:
    """What a card says of the networks that lie in a folder: its fields, and the answers to the held-out images."""

    fields: dict[str, Any]
    held_out: Evaluation
    familiarity: Familiarity | None


def write_networks(
    folder: Path,
    network: Any,
    dataset: Dataset,
    spec: InputSpec,
    before: Mapping[str, Probabilities],
    held_out: str,
    progress: Progress = silent,
    others: Mapping[str, npt.NDArray[np.uint8]] | None = None,
) -> Written:
    """Make a trained Keras network honest, write it as Keras and ONNX files with a sample picture, and describe it.

    `before` are its answers to the images it was not fitted on. The network is changed. `others` are outliers of other
    data sets, by kind, for stating how many are caught.
    """
    honest = make_honest(network, dataset, spec, before["validation"], progress)
    honest.network.save(folder / store.KERAS)
    export_onnx(honest.network, folder / store.ONNX)
    counted = Counted(progress, "checking what answers are worth", sum(len(dataset.splits[name]) for name in before))
    after = {name: answers_to(honest.run, dataset.splits[name], counted) for name in before}
    evaluations = {name: Evaluation(a.probabilities, dataset.splits[name].labels) for name, a in after.items()}
    if any((before[name].argmax(axis=1) != evaluations[name].predicted).any() for name in before):
        raise BadExport(f"{folder}: calibration changed the most probable label of an image, which it never may")
    sample = from_array(sample_picture(dataset.splits[held_out]), spec)
    (folder / store.SAMPLE).write_bytes(encode_png(sample))
    fields = honesty_of(honest, dataset, spec, before, after, held_out, others) | {
        "metrics": {name: evaluation.metrics() for name, evaluation in evaluations.items()},
        "expected": evaluations[held_out].expected(dataset.record.name, held_out),
        "sample": _sample(honest.run(sample[None]), dataset.labels),
    }
    return Written(fields, evaluations[held_out], after[held_out].familiarity)


def checked(card: Card, folder: Path, name: str, split: Split, written: Written, progress: Progress = silent) -> Card:
    """The card with the comparisons of its engines. Raises BadExport as `agreement_checks` does."""
    checks = agreement_checks(card, folder, name, split, written.held_out, written.familiarity, progress)
    return card.model_copy(update={"checks": checks})


def export_onnx(network: Any, path: Path) -> None:
    """Write a Keras network as ONNX, the batch dimension left open and its pixels' scale in the first convolution.

    Its outputs are called `probabilities` and, where there is a second one, `familiarity`.
    """
    network(np.zeros((1, *network.input_shape[1:]), np.uint8))  # Keras exports a network only once it was called
    with warnings.catch_warnings():
        # Keras' patch of tf2onnx asks whether NumPy still has `np.object`.
        warnings.filterwarnings("ignore", message="In the future `np.object`", category=FutureWarning)
        with _collected_often():
            network.export(path, format="onnx", verbose=False)
    exported = onnx.load(path)
    fold_scale(exported)
    name_outputs(exported, ("probabilities", "familiarity"))
    onnx.save(exported, path)


@contextmanager
def _collected_often() -> Iterator[None]:
    """Have Python's garbage collector look often at what is made meanwhile, and not at what was there before.

    tf2onnx copies the network for each of its steps, and a copy refers to itself. docs/tuning.md#memory-of-an-export
    """
    usual = gc.get_threshold()
    gc.freeze()
    gc.collect()  # so that it counts anew what lives long
    gc.set_threshold(usual[0], 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.collect()
        gc.unfreeze()


def sample_picture(split: Split) -> npt.NDArray[np.uint8]:
    """A picture for the card: the mean image of the first class, which shows nobody's photo.

    uint8 [height, width, channels]. Data sets whose images may not be passed on can so still ship a sample.
    """
    mean = split.pixels[np.flatnonzero(split.labels == 0)[:256]].mean(axis=0, dtype=np.float64)
    return np.asarray(np.rint(mean), np.uint8)


def agreement_checks(
    card: Card,
    folder: Path,
    name: str,
    split: Split,
    reference: Evaluation,
    familiarity: Familiarity | None = None,
    progress: Progress = silent,
) -> tuple[AgreementCheck, ...]:
    """Run the saved ONNX files at every precision this processor has and compare with the Keras answers.

    `reference` and `familiarity` are the Keras answers. Raises BadExport where float32 differs, on the images or on the
    sample. What a reduced precision changes is recorded: `close_enough` judges it when a server chooses.
    """
    precisions: list[Precision] = ["float32"]
    precisions += ["bfloat16"] if supports_bfloat16() else []
    precisions += ["int8"] if store.INT8 in card.files and supports_int8() else []
    checks = []
    for precision in precisions:
        engine = open_engine(card, folder, EngineOptions(engine="openvino", precision=precision, streams=1))
        try:
            counted = Counted(progress, f"checking what is served in {precision}", len(split))
            loaded = LoadedModel(card, engine, (folder / store.SAMPLE).read_bytes())
            found = answers_to(engine.answer, split, counted)
            checks.append(agreement(loaded, name, split, found, Answers(reference.probabilities, familiarity)))
        finally:
            engine.close()
    exact = checks[0]
    if not (exact.sample_difference or 0.0) <= SAMPLE_TOLERANCE["float32"]:
        raise BadExport(f"{folder / store.ONNX}: its answer to the sample is off by {exact.sample_difference}")
    if exact.largest_difference > MAX_EXPORT_DIFFERENCE or exact.same_top_class < 1.0:
        raise BadExport(
            f"{folder / store.ONNX}: differs from the Keras network by up to {exact.largest_difference:.2g} on "
            f"{exact.images} images (same top class on {exact.same_top_class:.2%}); allowed: {MAX_EXPORT_DIFFERENCE}"
        )
    if (exact.familiarity_difference or 0.0) > MAX_FAMILIARITY_DIFFERENCE:
        raise BadExport(f"{folder / store.ONNX}: familiarity differs by up to {exact.familiarity_difference:.2g}")
    return tuple(checks)


def agreement(loaded: LoadedModel, name: str, split: Split, found: Answers, reference: Answers) -> AgreementCheck:
    """How far a loaded version's answers to a split are from the `reference`, which are those in float32."""
    answers, known = (Evaluation(each.probabilities, split.labels) for each in (found, reference))
    off_by = loaded.sample_difference(*loaded.sample_answer())  # as when it is loaded to be served
    return AgreementCheck(
        engine=loaded.engine.name,
        precision=loaded.engine.precision,
        split=name,
        images=len(split),
        same_top_class=float((answers.predicted == known.predicted).mean()),
        accuracy=answers.accuracy,
        reference_accuracy=known.accuracy,
        largest_difference=float(np.abs(found.probabilities - reference.probabilities).max()),
        sample_difference=off_by,
        **_familiarity_agreement(loaded.card.familiarity, found.familiarity, reference.familiarity),
    )


def _familiarity_agreement(
    record: FamiliarityRecord | None, found: Familiarity | None, reference: Familiarity | None
) -> dict[str, float]:
    """The check's fields about familiarity; none where the network has no such output."""
    if record is None or found is None or reference is None:
        return {}
    least = record.point.threshold
    return {
        "familiarity_difference": float(np.abs(found - reference).max()),
        "same_verdict": float(((found >= least) == (reference >= least)).mean()),
    }


def _sample(answers: Answers, labels: Sequence[str]) -> Sample:
    row = answers.probabilities[0]
    return Sample(
        label=labels[int(row.argmax())],
        probabilities=tuple(float(p) for p in np.clip(row, 0, 1)),
        familiarity=None if answers.familiarity is None else float(answers.familiarity[0]),
    )


def _card(fitted: Fitted, written: Written) -> Card:
    recipe, dataset, here = fitted.recipe, fitted.dataset, provenance.of_this_run(LIBRARIES)
    return Card(
        name=fitted.name,
        version=1,  # the store counts
        recipe=recipe.name,
        article=recipe.article,
        labels=dataset.labels,
        input=recipe.input,
        parameters=fitted.network.count_params(),
        files={store.KERAS: FileRecord(sha256="0" * 64, bytes=1)},  # the store hashes
        training=TrainingRecord(
            dataset=dataset.record,
            seed=fitted.seed,
            epochs_planned=recipe.epochs,
            epochs_run=len(fitted.history),
            best_epoch=fitted.kept.epoch,
            batch_size=recipe.batch_size,
            precision=fitted.precision,
            seconds=round(sum(row.seconds for row in fitted.history), 1),
            libraries=here.libraries,
            commit=here.commit,
            machine="; ".join(fitted.machines) or here.machine,
            finished=here.date,
            backbone=fitted.backbone,
            class_weights=fitted.class_weights,
            augmentation=fitted.recipe.augmentation.settings,
            patience=fitted.patience,
        ),
        data_check=fitted.data_check,
        **written.fields,
    )
