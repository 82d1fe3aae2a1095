"""Release a version: verify it, compare it with the one that is served, and give it the alias if it keeps the policy.

The policy is release.toml beside the models. A version that breaks a rule is refused with exit code 1. The card keeps
what is found.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classifier.commands.parameters import Model, Models, path
from training.commands.parameters import Data, Runs, SplitName

if TYPE_CHECKING:
    from classifier.card import Card
    from classifier.store import ModelStore
    from training.evaluation.comparison.compare import Compared


def run(
    model: Model,
    data: Data,
    models: Models,
    split: SplitName = "test",
    policy: Annotated[
        Path | None, typer.Option(parser=path, metavar="FILE", help="Else release.toml beside the models.")
    ] = None,
    alias: Annotated[str, typer.Option(metavar="NAME", help="The alias it gets in rollout.toml.")] = "stable",
    new_labels: Annotated[bool, typer.Option("--new-labels", help="It may have other labels.")] = False,
    force: Annotated[
        str | None, typer.Option(metavar="REASON", help="Release it all the same; the card keeps the reason.")
    ] = None,
    keep: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of genuine images, to count as familiar: 0.99.")
    ] = None,
    bento: Annotated[bool, typer.Option("--bento/--no-bento", help="Pack it, in a checkout.")] = True,
    runs: Runs = Path("runs"),
) -> int:
    from classifier.store import ModelStore
    from training.evaluation.comparison.compare import compare
    from training.fitting.backend import import_tensorflow_to_answer
    from training.progress import ProgressLines
    from training.releasing.bento import build
    from training.releasing.policy import FILE, read_policy
    from training.releasing.release import check_keep, served_version
    from training.releasing.rules import broken_rules
    from training.reports.comparison.text import lines

    _check_words(alias, force)
    store = ModelStore(models)
    card = store.card(*model)
    check_keep(card, keep)
    limits = read_policy(policy or models / FILE, card.name)
    packs = bento and _can_pack(models)
    _verify(store, card)
    baseline = served_version(store, card)
    import_tensorflow_to_answer()
    compared = compare(store, card, baseline, data, split, progress=ProgressLines(sys.stderr))
    broken = broken_rules(compared.record, limits, new_labels=new_labels)
    print("\n".join(lines(compared.record)))
    if broken and force is None:
        _refuse(card, broken)
        return 1
    _release(store, card, compared, broken, force, keep, runs / f"{card.name}-{card.version}")
    _name(store, card, alias)
    if packs:
        print(f"built {build(models)}")
    return 0


def _check_words(alias: str, force: str | None) -> None:
    import re

    from classifier.rollout_file import ALIAS_PATTERN

    if not re.fullmatch(ALIAS_PATTERN, alias):
        raise typer.BadParameter(
            f"expected lower-case letters, digits and hyphens, got {alias!r}", param_hint="--alias"
        )
    if force is not None and not force.strip():
        raise typer.BadParameter("expected a reason, which the card keeps, got none", param_hint="--force")


def _verify(store: ModelStore, card: Card) -> None:
    from classifier.commands.stderr import stderr_kept_back
    from classifier.verification import installed_engines, verify
    from training.releasing.release import NotReleasable

    with stderr_kept_back():
        verdict = verify(store, card.name, card.version, installed_engines())
    if verdict.fault:
        raise NotReleasable(f"{card.name} version {card.version} is broken: {verdict.fault}")
    print(f"verified {card.name} version {card.version}: {', '.join(verdict.engines)}")


def _refuse(card: Card, broken: list[str]) -> None:
    for rule in broken:
        print(f"refused: {rule}", file=sys.stderr)
    print(f"{card.name} version {card.version} is not released; --force REASON does it all the same", file=sys.stderr)


def _release(
    store: ModelStore,
    card: Card,
    compared: Compared,
    broken: list[str],
    force: str | None,
    keep: float | None,
    to: Path,
) -> None:
    from training.releasing.release import keep_record, sign_off
    from training.reports.comparison.page import write_page

    sha256 = keep_record(compared.record, to)
    write_page(compared, to / "comparison.html")
    for rule in broken:
        print(f"released in spite of: {rule}")
    sign_off(store, card, compared.record, sha256, broken, force if broken else None, keep)
    print(f"released {card.name} version {card.version}; comparison: {to / 'comparison.html'}")


def _name(store: ModelStore, card: Card, alias: str) -> None:
    from classifier import rollout_file
    from training.releasing.release import name_version

    print(f"{alias} is version {card.version} in {name_version(store.root, card, alias)}")
    pin = rollout_file.read(store.root)[card.name].pin
    if alias == "stable" and pin not in (None, card.version):
        print(f"note: pin = {pin} in that file answers all requests; take it out to have version {card.version} answer")


def _can_pack(models: Path) -> bool:
    from training.releasing.bento import BENTOFILE, can_build, check_can_build

    if not can_build(models):
        print(f"no Bento will be built: there is no {BENTOFILE} beside {models}")
        return False
    check_can_build()
    return True
