"""How fast images come out of a recipe's input pipeline and go into its network: the record that `pipeline` keeps."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict, ValidationError

from classifier.card import Precision
from training.recipe import RecipeError

RATES = "pipeline.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rates(_Part):
    """Images per second: `pipeline` shuffles and augments, `network` trains on one batch over and over, `both` fits."""

    pipeline: float
    network: float
    both: float

    @property
    def both_of_slower(self) -> float:
        """`both` as a part of the slower one alone; where they share the processor it cannot reach 1."""
        return self.both / min(self.pipeline, self.network)


class RatesRecord(_Part):
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
    if not path.is_file():
        return None
    try:
        return RatesRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RecipeError(f"{path}: not what `pipeline` records: {error}") from error


def write_rates(record: RatesRecord, path: Path) -> None:
    """Write a record as indented JSON with a final newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
