"""`release.toml`: what a new version must keep to be released."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from classifier.card import Probability
from classifier.errors import SightlineError

FILE = "release.toml"


class ReleasePolicyError(SightlineError):
    """`release.toml` is wrong, so nothing can be judged by it."""

    code = "release-policy"
    title = "The release policy is wrong"


class Policy(BaseModel):
    """The limits of one model.

    `within_interval` refuses an accuracy below the 95 % interval of the baseline's. `significance` refuses a lower one
    where McNemar's exact test gives a smaller p; 0 never does. `max_class_drop` is how far the recall of a class may
    fall. `max_ece` bounds the expected calibration error, `max_ece_rise` how far it may be above the baseline's. The
    ratios bound the median time of an image and the size of `model.onnx` by the baseline's; `max_p50_ms`, in
    milliseconds, and `max_size_mb` bound them as such.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    within_interval: bool = True
    significance: Probability = 0.05
    max_class_drop: Probability = 0.02
    max_ece: Probability = 1.0
    max_ece_rise: Probability = 0.02
    max_p50_ratio: float = Field(default=2.0, gt=0)
    max_p50_ms: float | None = Field(default=None, gt=0)
    max_size_ratio: float = Field(default=2.0, gt=0)
    max_size_mb: float | None = Field(default=None, gt=0)


def read_policy(path: Path, model: str) -> Policy:
    """The policy of one model: the file's own keys, over them those of the table `[MODEL]`; defaults without a file.

    Raises ReleasePolicyError naming each fault, in the tables of other models too.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Policy()
    except OSError as error:
        raise ReleasePolicyError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReleasePolicyError(f"{path}: not TOML: {error}") from error
    tables = {name: table for name, table in said.items() if isinstance(table, dict)}
    common = {key: value for key, value in said.items() if key not in tables}
    policies = {name: _checked(path, common | table, f"{name}.") for name, table in tables.items()}
    return policies.get(model) or _checked(path, common, "")


def _checked(path: Path, keys: dict[str, Any], table: str) -> Policy:
    try:
        return Policy.model_validate(keys)
    except ValidationError as error:
        faults = "; ".join(f"{table}{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ReleasePolicyError(f"{path}: {faults}; known keys: {', '.join(Policy.model_fields)}") from error
