"""What every part of a card has in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Precision = Literal["float32", "bfloat16", "float16", "int8"]


class Part(BaseModel):
    """Unknown keys are refused, values do not change, and numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
