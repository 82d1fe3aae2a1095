"""How fast images come out of a recipe's input pipeline and go into its network: the record that `pipeline` keeps."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from classifier.card import Precision
from training.evaluation.json_records import Part, read_record

RATES = "pipeline.json"


class Rates(Part):
    """Images per second: `pipeline` shuffles and augments, `network` trains on one batch over and over, `both` fits."""

    pipeline: float
    network: float
    both: float

    @property
    def both_of_slower(self) -> float:
        """`both` as a part of the slower one alone; where they share the processor it cannot reach 1."""
        return self.both / min(self.pipeline, self.network)


class RatesRecord(Part):
    """`pipeline.json`. In each round the three took turns, so that whatever else the machine did met all of them."""

    recipe: str
    dataset: str
    precision: Precision
    batch_size: int
    batches: int
    rounds: tuple[Rates, ...]
    machine: str
    commit: str
    finished: str

    @property
    def rates(self) -> Rates:
        """The medians."""
        return Rates(**{name: median(getattr(each, name) for each in self.rounds) for name in Rates.model_fields})

    @property
    def both_of_slower(self) -> float:
        """The median of the rounds' own."""
        return median(each.both_of_slower for each in self.rounds)


def read_rates(path: Path) -> RatesRecord | None:
    """Read a `pipeline.json`; None where there is no such file. Raises RecipeError."""
    return read_record(RatesRecord, path, "pipeline")
