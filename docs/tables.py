"""What code and model cards already say: `make docs` writes it into README.md and docs/, tests hold them to it.

In README.md, docs/capacity.md and docs/honest-answers.md each part stands between `<!-- name -->` and `<!-- /name -->`.
The other pages are written whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from classifier.card import Card
from classifier.engines import EngineOptions
from classifier.loaded_model import LoadedModel
from classifier.ranking import rank
from classifier.store import ModelStore
from docs import article_tables, honesty
from load_tests.capacity import tables as capacity
from load_tests.reporting import page
from load_tests.reporting.figures import Results
from load_tests.reporting.tables import table
from service import metrics
from service.api.openapi import limits
from service.settings import describe
from training.recipes import RECIPES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BENTO = ROOT / "docs" / "bento.md"
CAPACITY = ROOT / "docs" / "capacity.md"
LIMITS = ROOT / "docs" / "limits.md"
METRICS = ROOT / "docs" / "metrics.md"
RECIPES_PAGE = ROOT / "docs" / "recipes.md"
SETTINGS = ROOT / "docs" / "settings.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
STORE = ModelStore(ROOT / "models")


def main() -> None:
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
    BENTO.write_text(bento_page(), encoding="utf-8")
    LIMITS.write_text(limits_page(), encoding="utf-8")
    METRICS.write_text(metrics_page(), encoding="utf-8")
    RECIPES_PAGE.write_text(recipes_page(), encoding="utf-8")
    SETTINGS.write_text(settings_page(), encoding="utf-8")
    PERFORMANCE.write_text(performance_page(), encoding="utf-8")
    CAPACITY.write_text(written_capacity(CAPACITY.read_text(encoding="utf-8")), encoding="utf-8")
    honesty.PAGE.write_text(written_honesty(honesty.PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    article_tables.main()


def written(text: str) -> str:
    """README.md with every part made anew."""
    return _written(text, {"models": models, "answer": answer, "peers": peers}, README)


def written_capacity(text: str) -> str:
    """docs/capacity.md with every part made anew."""
    parts = {"plans": capacity.plans, "agreement": capacity.agreement, "curve": capacity.curve, "rush": capacity.rush}
    return _written(text, parts, CAPACITY)


def written_honesty(text: str) -> str:
    """docs/honest-answers.md with every part made anew."""
    parts = {
        "calibrations": honesty.calibrations,
        "familiarities": honesty.familiarities,
        "prediction sets": honesty.prediction_sets,
    }
    return _written(text, parts, honesty.PAGE)


def _written(text: str, parts: Mapping[str, Callable[[], Iterable[str]]], file: Path) -> str:
    for name, part in parts.items():
        text, found = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda found, lines=part(): found[1] + "".join(f"{line}\n" for line in lines) + found[2],
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise SystemExit(f"{file} has {found} spots for {name!r}, expected one")
    return text


def models() -> Iterable[str]:
    """One row per model: its newest version."""
    return table(
        ("model", "tells apart", "input", "accuracy on unseen images", "made by"),
        [_model_row(STORE.card(name)) for name in STORE.versions()],
    )


def answer() -> Iterable[str]:
    """What the README's first request is answered with, in float32."""
    model = LoadedModel.open(STORE, "cats-vs-dogs", options=EngineOptions(engine="openvino", precision="float32"))
    answers = model.answer([(ROOT / "docs" / "chelsea.jpg").read_bytes()])
    model.close()
    card, ranked = model.card, rank(answers.probabilities[0], model.card.labels)
    predictions = [{"label": label, "probability": round(probability, 2)} for label, probability in ranked]
    said: dict[str, object] = {"model": card.name, "version": card.version, "predictions": predictions}
    if card.familiarity is not None and answers.familiarity is not None:
        score = float(answers.familiarity[0])
        said |= {"familiar": card.familiarity.is_familiar(score), "familiarity": round(score, 2)}
    return ["```json", json.dumps(said), "```"]


def peers() -> Iterable[str]:
    """The heading with the versions that were measured, and our server beside others, in short."""
    results = Results.read()
    versions = sorted({f"`{run['model']}` {run['version']}" for run in (results.peers or {"runs": []})["runs"]})
    return [f"## Speed of {', '.join(versions)}" if versions else "## Speed", "", *page.summary(results)]


def performance_page() -> str:
    """All of docs/performance.md."""
    return "\n".join([*page.performance(Results.read()), ""])


def bento_page() -> str:
    """All of docs/bento.md, the README of the Bento: every version that is in it."""
    every_version = [(name, version) for name, versions in STORE.versions().items() for version in versions]
    return "\n".join(
        [
            "# Sightline",
            "",
            "Image classifiers over HTTP. This page was made from the cards of the models in this Bento.",
            "",
            *table(
                ("model and version", "tells apart", "input", "accuracy on unseen images", "made by"),
                [_model_row(STORE.card(name, version)) for name, version in every_version],
            ),
            "",
            "`bentoml serve sightline:latest --host 127.0.0.1` serves it. On another address it wants API keys:",
            "`SIGHTLINE_API_KEYS_FILE` names a file with one a line; `SIGHTLINE_ALLOW_ANONYMOUS=true` goes without.",
            "`curl --data-binary @photo.jpg localhost:3000/v1/models/cats-vs-dogs/predict` asks; `/docs` is a manual.",
            "",
        ]
    )


def limits_page() -> str:
    """All of docs/limits.md."""
    rows = table(("limit", "setting", "default", "status", "code"), limits.describe())
    return "\n".join(
        [
            "# Limits",
            "",
            "Written by `make docs` from `service/api/openapi/limits.py`. Beyond a limit a caller gets this status and",
            "code, on `/v1` as the problem's `code`, and everywhere in the header `x-error-code`.",
            "",
            *rows,
            "",
        ]
    )


def recipes_page() -> str:
    """All of docs/recipes.md: one row per recipe with what its article states."""
    rows = []
    for recipe in RECIPES.values():
        article = recipe.article
        figure = f"{article.split} {article.accuracy:.4g}" if article.accuracy else "(the comparison)"
        rows.append((f"`{recipe.name}`", article.title, figure, str(recipe.epochs), f"{recipe.parameters:,}"))
    return "\n".join(
        [
            "# Recipes",
            "",
            "Written by `make docs` from `training/recipes/`. `sightline fit RECIPE --data DATA` trains one. What each",
            "reached here: [reproduction](reproduction.md).",
            "",
            *table(("recipe", "article", "it states", "epochs", "parameters"), rows),
            "",
        ]
    )


def settings_page() -> str:
    """All of docs/settings.md: one row per setting of the server."""
    rows = [(f"`{row.variable}`", row.default, row.meaning) for row in describe()]
    return "\n".join(
        [
            "# Settings",
            "",
            "Written by `make docs` from `service/settings.py`. Environment variables, read once at the start. A wrong",
            "value or an unknown name stops it with a line that says what was expected.",
            "",
            *table(("variable", "default", "meaning"), rows),
            "",
        ]
    )


def metrics_page() -> str:
    """All of docs/metrics.md."""
    rows = [(f"`{s.name}`", s.kind, ", ".join(f"`{label}`" for label in s.labels), s.meaning) for s in metrics.SERIES]
    return "\n".join(
        [
            "# Metrics",
            "",
            "Written by `make docs` from `service/metrics.py`. `GET /metrics` gives them to Prometheus, beside those",
            "that its library has of the process (`process_*`) and of Python (`python_*`). They count from the start",
            "of this server; another one on a machine has its own. `deploy/grafana/sightline.json` is a dashboard",
            "(Grafana: Dashboards, New, Import). An endpoint is a route's template, never the path that somebody sent.",
            "",
            *table(("metric", "kind", "labels", "meaning"), rows),
            "",
            "Each answer to a classification says the same of itself in the header `Server-Timing`, in milliseconds:",
            "`decode;dur=0.151, queue;dur=0.310, infer;dur=2.870`; of several images the longest of each step.",
            "",
        ]
    )


def _model_row(card: Card) -> tuple[str, ...]:
    split = "test" if "test" in card.metrics else "validation"
    metrics, spec = card.metrics[split], card.input
    labels = (
        ", ".join(card.labels)
        if len(card.labels) <= 10
        else f"{len(card.labels)} letters, {card.labels[0]} to {card.labels[-1]}"
    )
    colour = "grey" if spec.channels == 1 else "colour"
    made = f"`{card.recipe}`, {card.training.epochs_run} of {card.training.epochs_planned} epochs"
    accuracy = f"{metrics.accuracy:.3f} ({split}, {metrics.images:,} images)"
    if (grouped := card.grouped) is not None:
        low, high = grouped.interval
        accuracy += f"; {grouped.accuracy:.3f} ({low:.3f} to {high:.3f}) with images that look alike on one side"
    return f"`{card.name}` {card.version}", labels, f"{spec.width}x{spec.height} {colour}", accuracy, made


if __name__ == "__main__":
    main()
