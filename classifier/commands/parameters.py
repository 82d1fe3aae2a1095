"""Parameters that commands share: how a model is named, where models lie, numbers, engines and folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias

import typer

from classifier.store import ModelStore


class Reference(NamedTuple):
    """MODEL or MODEL@VERSION as typed; no version is the newest, or all where a command takes all."""

    name: str
    version: int | None


def reference(text: object) -> Reference:
    """Read MODEL or MODEL@VERSION. Raises BadParameter."""
    name, at, version = str(text).partition("@")
    if not name or (at and not _is_whole(version, least=1)):
        raise typer.BadParameter(f"expected MODEL or MODEL@VERSION with a whole number from 1, got {str(text)!r}")
    return Reference(name, int(version) if at else None)


def whole_number(least: int, most: int | None = None) -> Callable[[object], int]:
    """A parser of whole numbers from `least`, up to `most` if there is one, which raises BadParameter."""
    wanted = f"from {least}" if most is None else f"from {least} to {most}"

    def parse(text: object) -> int:
        if not _is_whole(str(text), least) or (most is not None and int(str(text)) > most):
            raise typer.BadParameter(f"expected a whole number {wanted}, got {str(text)!r}")
        return int(str(text))

    return parse


class Numbers(tuple[int, ...]):
    """Whole numbers, typed with commas between."""


def whole_numbers(least: int) -> Callable[[object], Numbers]:
    """A parser of whole numbers from `least` with commas between, which raises BadParameter."""

    def parse(text: object) -> Numbers:
        parts = [str(part) for part in text] if isinstance(text, Numbers) else str(text).split(",")
        if not all(_is_whole(part, least) for part in parts):
            raise typer.BadParameter(f"expected whole numbers from {least} with commas between, got {str(text)!r}")
        return Numbers(map(int, parts))

    return parse


def path(text: object) -> Path:
    """A path, with `~` at its start for the home folder: shells leave `--data=~/x` as it is."""
    return Path(str(text)).expanduser()


def models_folder() -> Path:
    """Where models lie unless an option says so: where SIGHTLINE_MODELS says, as for the server, else `models` here.

    Without such a folder it is the one beside the package, if that is there.
    """
    if named := os.environ.get("SIGHTLINE_MODELS"):
        return Path(named)
    here, beside = Path("models"), Path(__file__).resolve().parents[2] / "models"
    return beside if beside.is_dir() and not here.is_dir() else here


def folder_to_save_in() -> Path:
    """Where a new version is saved unless an option says so: where SIGHTLINE_MODELS says, else `models` here.

    Never beside the package, where `models_folder` may look.
    """
    return Path(os.environ.get("SIGHTLINE_MODELS") or "models")


def model_names(incomplete: str) -> list[str]:
    """The models in the default store whose name begins so, for the completion of shells."""
    return [name for name in ModelStore(models_folder()).versions() if name.startswith(incomplete)]


def _is_whole(text: str, least: int) -> bool:
    return text.isascii() and text.isdigit() and int(text) >= least


Model: TypeAlias = Annotated[
    Reference,
    typer.Argument(
        parser=reference,
        metavar="MODEL[@VERSION]",
        help="No version: the newest.",
        autocompletion=model_names,
    ),
]
Models: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--models",
        parser=path,
        default_factory=models_folder,
        metavar="DIR",
        help="The model store (./models, or the package's).",
        show_default=False,
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EngineName: TypeAlias = Annotated[
    Literal["auto", "openvino", "tensorflow", "jax"],
    typer.Option(metavar="NAME", help="auto (as served), openvino, tensorflow or jax.", show_default=False),
]
PrecisionName: TypeAlias = Annotated[
    Literal["auto", "float32", "bfloat16", "float16", "int8"],
    typer.Option(metavar="NAME", help="auto, float32, bfloat16, float16 or int8.", show_default=False),
]
