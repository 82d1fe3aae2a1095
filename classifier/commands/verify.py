"""Check files and answers of model versions against their cards."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from classifier.commands.parameters import Json, Models, Reference, model_names, reference
from classifier.commands.stderr import stderr_kept_back
from classifier.errors import UnknownModel
from classifier.store import ModelStore

if TYPE_CHECKING:
    from classifier.verification import Verdict


def run(
    models: Models,
    named: Annotated[
        list[Reference] | None,
        typer.Argument(
            parser=reference,
            metavar="MODEL[@VERSION]",
            help="Default: every version of all.",
            autocompletion=model_names,
        ),
    ] = None,
    json: Json = False,
) -> int:
    from classifier.verification import installed_engines, verify

    store, engines = ModelStore(models), installed_engines()
    wanted = list(_versions(store, named or []))
    if not wanted:
        raise UnknownModel(f"no models yet in {models}")
    if engines == ("openvino",):
        print("TensorFlow and JAX are not installed: model.keras is compared by its hash only", file=sys.stderr)
    verdicts = []
    for name, version in wanted:
        with stderr_kept_back():
            verdicts.append(verify(store, name, version, engines))
        if not json:
            print(_line(verdicts[-1]), flush=True)
    if json:
        print(json_text.dumps([_verdict(verdict) for verdict in verdicts], indent=2, ensure_ascii=False))
    return 1 if any(verdict.fault for verdict in verdicts) else 0


def _versions(store: ModelStore, named: Sequence[Reference]) -> Iterator[tuple[str, int]]:
    """Names and versions: a name alone stands for all its versions, no name at all for every model."""
    known = store.versions()
    for name, version in named or [Reference(name, None) for name in known]:
        store.folder(name, version)  # raises UnknownModel
        for each in known[name] if version is None else (version,):
            yield name, each


def _line(verdict: Verdict) -> str:
    what = f"{verdict.name}@{verdict.version}"
    return f"BROKEN  {what}  {verdict.fault}" if verdict.fault else f"ok      {what}  {', '.join(verdict.engines)}"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    head = {"model": verdict.name, "version": verdict.version, "ok": verdict.fault is None}
    return head | {"engines": list(verdict.engines), "error": verdict.fault}
