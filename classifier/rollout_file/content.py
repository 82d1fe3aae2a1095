"""What the roll-out file may say, and whether it is right."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from classifier.card import Name, Probability
from classifier.errors import RolloutFileError

FILE = "rollout.toml"
MOST_BYTES = 1_000_000

ALIAS_PATTERN = r"^[a-z](?:[a-z0-9-]{0,62}[a-z0-9])?$"  # begins with a letter, so it is never taken for a version
OWN_ALIASES = ("stable", "canary", "shadow")  # keys of a model's table that name a version

Alias = Annotated[str, StringConstraints(pattern=ALIAS_PATTERN)]
Version = Annotated[int, Field(ge=1, le=999_999_999)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Guard(_Part):
    """Limits of a canary; beyond one of them it gets no more traffic until its part of the file changes.

    A limit counts as passed once that is certain to 99 %, and never before `min_requests` were looked at. `max_p99_ms`
    is of the time from an image's admission to its answer, in milliseconds; None: any. `min_agreement` is the share of
    requests whose most probable label is that of the stable version; `compare_share` of the requests, 0..1, are run on
    both versions to know it, behind all other work.
    """

    min_requests: int = Field(default=50, ge=1)
    max_error_rate: Probability = 0.02
    max_p99_ms: float | None = Field(default=None, gt=0)
    min_agreement: Probability = 0.7
    compare_share: Probability = 0.25


class ModelRollout(_Part):
    """What is said about one model.

    `stable` answers; None: the newest sound version that is neither canary nor shadow. `canary` answers the share
    `canary_weight`, 0..1, of the requests that name no version. `sticky` says whose requests stay together: those with
    the same header `X-Sightline-Key` or, without one, of the same client ("key"); of the same client ("client");
    nobody's ("off"). `shadow` also runs `shadow_share`, 0..1, of those requests, behind all other work; nobody gets its
    answers. `pin` answers every request that names no version, whatever else is said here. `keep` is how many versions
    stay loaded: the named ones, then those that answered last, then the newest; None: all.
    """

    stable: Version | None = None
    canary: Version | None = None
    canary_weight: Probability = 0.0
    sticky: Literal["key", "client", "off"] = "key"
    shadow: Version | None = None
    shadow_share: Probability = 0.0
    pin: Version | None = None
    keep: int | None = Field(default=None, ge=1)
    aliases: dict[Alias, Version] = {}
    guard: Guard = Guard()

    @model_validator(mode="after")
    def _fits(self) -> ModelRollout:
        if self.canary_weight and self.canary is None:
            raise ValueError("canary_weight needs a canary")
        if self.shadow_share and self.shadow is None:
            raise ValueError("shadow_share needs a shadow")
        if self.canary is not None and self.canary == self.stable:
            raise ValueError(f"canary and stable are both version {self.canary}; they must differ")
        if taken := sorted(set(OWN_ALIASES) & set(self.aliases)):
            raise ValueError(f"{taken[0]} is a key of its own and no alias; write {taken[0]} = VERSION above")
        return self

    @property
    def named(self) -> dict[str, int]:
        """Every alias with its version, without those of which the file says nothing."""
        own = {alias: getattr(self, alias) for alias in OWN_ALIASES}
        return {alias: version for alias, version in own.items() if version is not None} | self.aliases

    @property
    def versions(self) -> frozenset[int]:
        """Every version that is named."""
        return frozenset(self.named.values()) | ({self.pin} if self.pin is not None else frozenset())


Rollout = dict[str, ModelRollout]  # by model name

NOTHING_SAID = ModelRollout()

_ROLLOUT: TypeAdapter[Rollout] = TypeAdapter(dict[Name, ModelRollout])


def read(models: Path) -> Rollout:
    """The roll-out file of a models folder, {} where there is none. Raises RolloutFileError naming each fault."""
    path = models / FILE
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RolloutFileError(f"{path}: cannot be read ({error.strerror})") from error
    if len(body) > MOST_BYTES:
        raise RolloutFileError(f"{path}: a roll-out file has at most {MOST_BYTES:,} bytes")
    try:
        return parsed(body.decode())
    except UnicodeDecodeError as error:
        raise RolloutFileError(f"{path}: not UTF-8 ({error})") from error
    except RolloutFileError as error:
        raise RolloutFileError(f"{path}: {error}") from error


def parsed(text: str) -> Rollout:
    """The content of a roll-out file. Raises RolloutFileError."""
    try:
        return _ROLLOUT.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise RolloutFileError(f"not TOML: {error}") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise RolloutFileError("; ".join(faults)) from error


def check_versions(rollout: Rollout, known: Mapping[str, Collection[int]]) -> None:
    """Raise RolloutFileError unless every model and version that the file names is among the `known`."""
    for name, said in rollout.items():
        if name not in known:
            raise RolloutFileError(f"{FILE}: no model {name!r}; there is: {', '.join(sorted(known)) or 'none'}")
        if missing := sorted(said.versions - set(known[name])):
            there = ", ".join(map(str, sorted(known[name])))
            raise RolloutFileError(f"{FILE}: model {name!r} has no version {missing[0]}; there is: {there}")
