"""Compare the engines of a saved version with its Keras network again, and write what is found into its card.

Fitting does this once. What an engine makes of a network may change with a new release of it, or with ours. The server
goes below float32 only where the card says that answers stay the same. Nothing else of the card changes.
"""

from __future__ import annotations

from classifier.commands.parameters import Model, Models
from training.commands.parameters import Data, check_tensorflow


def run(model: Model, data: Data, models: Models) -> None:
    from classifier.engines import EngineOptions, open_engine
    from classifier.store import ModelStore
    from training.errors import DatasetError
    from training.evaluation.images import read_images
    from training.evaluation.scores import Evaluation
    from training.fitting.backend import import_tensorflow

    check_tensorflow()
    import_tensorflow()
    from training.export import agreement_checks
    from training.honesty.honest import answers_to
    from training.progress import Counted, silent

    store = ModelStore(models)
    card = store.verify(*model)
    folder, name = store.folder(card.name, card.version), card.checks[0].split
    labelled = read_images(data, card, name)
    if not labelled.same_data:
        raise DatasetError(f"{data} is not the data that {card.name} version {card.version} was fitted on")
    keras = open_engine(card, folder, EngineOptions("tensorflow", "float32"))
    answers = answers_to(keras.answer, labelled.images, Counted(silent, "answering", len(labelled.images)))
    reference = Evaluation(answers.probabilities, labelled.images.labels)
    checks = agreement_checks(card, folder, name, labelled.images, reference, answers.familiarity)
    keras.close()
    store.update(card.model_copy(update={"checks": checks}))
    for check in checks:
        print(f"{check.engine} {check.precision}: same top class {check.same_top_class:.2%} of {check.images:,} images")
