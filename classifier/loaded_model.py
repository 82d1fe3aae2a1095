"""A version that has been checked and loaded: its card and an engine that runs it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from classifier import store
from classifier.card import Card
from classifier.engines import Answers, Engine, EngineOptions, Probabilities, open_engine
from classifier.engines.agreement import SAMPLE_TOLERANCE
from classifier.errors import BrokenModel, ImageError, WrongAnswer
from classifier.images import MAX_PIXELS, Pixels, decode
from classifier.ranking import Prediction, rank

log = logging.getLogger(__name__)


class LoadedModel:
    """One version of one model, ready to classify."""

    def __init__(self, card: Card, engine: Engine, sample: bytes) -> None:
        self.card = card
        self.engine = engine
        self.sample = sample

    @classmethod
    def open(
        cls, models: store.ModelStore, name: str, version: int | None = None, options: EngineOptions = EngineOptions()
    ) -> LoadedModel:
        """Verify a version's files, load it, and ask it for its sample's answer.

        Networks may be missing, as where only one engine is installed: an engine that reads one says so.
        Where "auto" chose a reduced precision that answers wrongly on this processor, the version is loaded in float32.
        Raises UnknownModel, BrokenModel or EngineUnavailable.
        """
        card = models.verify(name, version, may_lack=store.NETWORKS)
        folder = models.folder(name, card.version)
        sample = models.read(card, store.SAMPLE)
        engine = open_engine(card, folder, options, lambda path: models.read(card, path.name))
        loaded = cls(card, engine, sample)
        try:
            loaded.check_sample_answer(*loaded.sample_answer())
        except WrongAnswer as error:
            loaded.close()
            if not reduced_unasked(error, options):
                raise
            log.warning("%s; it runs in float32 instead", error)
            return cls.open(models, name, card.version, replace(options, precision="float32"))
        except Exception as error:
            loaded.close()
            if isinstance(error, ImageError):
                raise BrokenModel(f"{folder / store.SAMPLE}: {error}") from error
            raise
        return loaded

    def decode(self, body: bytes, *, max_pixels: int = MAX_PIXELS) -> Pixels:
        """Encoded image bytes to this network's input; raises as `images.decode` does."""
        return decode(body, self.card.input, max_pixels=max_pixels)

    def answer(self, bodies: Sequence[bytes]) -> Answers:
        """Decode and run as one batch; `is_familiar` judges the familiarity, where the version has one."""
        return self.engine.answer(np.stack([self.decode(body) for body in bodies]))

    def classify(self, bodies: Sequence[bytes]) -> Probabilities:
        """The probabilities of `answer`, float32 [len(bodies), classes] in the card's column order."""
        return self.answer(bodies).probabilities

    def predict(self, body: bytes, top_k: int | None = None) -> list[Prediction]:
        """Classify one encoded image, most probable label first."""
        return rank(self.classify([body])[0], self.card.labels, top_k)

    def sample_answer(self) -> tuple[Probabilities, float | None]:
        """The row and the familiarity of the sample picture."""
        answers = self.answer([self.sample])
        return answers.probabilities[0], None if answers.familiarity is None else float(answers.familiarity[0])

    def sample_difference(self, probabilities: Probabilities, familiarity: float | None = None) -> float:
        """How far an answer to the sample picture is from the card's, in what differs most."""
        known = self.card.sample_of(self.engine.precision)
        said = np.asarray(known.probabilities, np.float32)
        if known.familiarity is not None and familiarity is not None:
            probabilities, said = np.append(probabilities, familiarity), np.append(said, known.familiarity)
        return float(np.abs(probabilities - said).max())

    def check_sample_answer(self, probabilities: Probabilities, familiarity: float | None = None) -> None:
        """Hold an answer to the sample picture against the card. Raises WrongAnswer when it differs."""
        difference, precision = self.sample_difference(probabilities, familiarity), self.engine.precision
        if not difference <= SAMPLE_TOLERANCE[precision]:  # written so that NaN fails
            raise WrongAnswer(
                f"{self.card.name} version {self.card.version}: the answer to sample.png is off by {difference:.4f} "
                f"with {self.engine.name} in {precision}, and may be by {SAMPLE_TOLERANCE[precision]}",
                precision,
            )

    def close(self) -> None:
        self.engine.close()


def reduced_unasked(error: WrongAnswer, options: EngineOptions) -> bool:
    """Whether nobody asked for the precision that answered wrongly, and float32 may answer rightly."""
    return options.precision == "auto" and error.precision != "float32"
