"""The steps of a release: which version to compare with, the sign-off in the card, and the alias."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from classifier import rollout_file, store
from classifier.card import NEWEST_FORMAT, Card, ReleaseRecord
from classifier.errors import SightlineError
from training.evaluation.comparison.record import Comparison
from training.evaluation.json_records import write_record

RECORD = "comparison.json"


class NotReleasable(SightlineError):
    """The version is broken, so nothing can be said for it, and no reason releases it."""

    code = "not-releasable"
    title = "The version cannot be released"


def served_version(models: store.ModelStore, candidate: Card) -> Card | None:
    """The version that a candidate is compared with: the one called `stable`, else the newest older one.

    None where there is none, as for the first version. Where the candidate is `stable` itself it is the newest older
    one too. Raises RolloutFileError, UnknownModel or BrokenModel.
    """
    stable = rollout_file.read(models.root).get(candidate.name, rollout_file.NOTHING_SAID).stable
    if stable is not None and stable != candidate.version:
        return models.card(candidate.name, stable)
    older = [version for version in models.versions()[candidate.name] if version < candidate.version]
    return models.card(candidate.name, older[-1]) if older else None


def keep_record(found: Comparison, to: Path) -> str:
    """Write the comparison as `comparison.json` into a folder, and return the file's SHA-256."""
    write_record(found, to / RECORD)
    return hashlib.sha256((to / RECORD).read_bytes()).hexdigest()


def sign_off(
    models: store.ModelStore,
    card: Card,
    found: Comparison,
    sha256: str,
    broken: Sequence[str],
    forced: str | None,
    keep: float | None = None,
) -> Card:
    """Write into the card that it was released, when, and by which comparison. Returns the card as written.

    `forced` is a person's reason to release it in spite of the `broken` rules. `keep` is the share of genuine images
    that are to count as familiar; None leaves the card's. Raises NotReleasable for one that the card does not know.
    """
    check_keep(card, keep)
    baseline = found.baseline
    released = ReleaseRecord(
        date=found.date,
        compared_with=baseline.version if baseline else None,
        comparison_sha256=sha256,
        data=found.data.name,
        split=found.data.split,
        images=found.data.images,
        fingerprint=found.data.fingerprint,
        accuracy=found.candidate.accuracy,
        baseline_accuracy=baseline.accuracy if baseline else None,
        p_value=found.pairs.p_value if found.pairs else None,
        broken_rules=tuple(broken),
        forced=forced,
    )
    signed = card.model_copy(update={"format": NEWEST_FORMAT, "released": released})
    if keep is not None and card.familiarity is not None:
        signed = signed.model_copy(update={"familiarity": card.familiarity.model_copy(update={"keep": keep})})
    models.update(signed)
    return signed


def check_keep(card: Card, keep: float | None) -> None:
    """Raise NotReleasable for a share that the card has no threshold for."""
    if keep is None:
        return
    if card.familiarity is None:
        raise NotReleasable(f"{card.name} version {card.version} does not say which images are unfamiliar: no --keep")
    known = [point.keep for point in card.familiarity.points]
    if keep not in known:
        raise NotReleasable(f"the card has no threshold that keeps {keep:g}; there is: {', '.join(map(str, known))}")


def name_version(models: Path, card: Card, alias: str) -> Path:
    """Have an alias name the version in the roll-out file, and return the file. Raises RolloutFileError.

    A version that becomes `stable` stops being the canary, if it was, for one version cannot be both.
    """
    values: dict[str, object] = {rollout_file.alias_key(alias): card.version}
    said = rollout_file.read(models).get(card.name, rollout_file.NOTHING_SAID)
    if alias == "stable" and said.canary == card.version:
        values |= {"canary": None, "canary_weight": None}
    rollout_file.set_values(models, card.name, values)
    return models / rollout_file.FILE
