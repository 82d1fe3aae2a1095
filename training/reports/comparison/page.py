"""A comparison as one HTML file that needs no other: styles and pictures are in it."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

from training.evaluation.comparison.compare import Compared
from training.evaluation.comparison.record import Comparison
from training.reports.comparison.sheet import write_sheet
from training.reports.comparison.text import Row, class_rows, figure_rows, notes, pair_text

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #111827;
  background: #fff }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #d1d5db; text-align: right }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto }
"""


def write_page(compared: Compared, path: Path) -> None:
    """Write the page: figures, classes, reliability diagrams, and the images that only one version gets right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(compared.record, _pictures(compared)), encoding="utf-8")


def page(found: Comparison, pictures: Sequence[tuple[str, bytes]]) -> str:
    """The page's HTML. `pictures` are PNGs with what they show."""
    data = found.data
    versions = [found.candidate.title, *([found.baseline.title] if found.baseline else [])]
    title = " and ".join(versions)
    about = [
        f"{data.images:,} images of {data.name}, {data.split}. {found.date}, {found.machine}, commit {found.commit}.",
        *notes(found),
        *([text] if (text := pair_text(found)) else []),
    ]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{escape(title)}</h1>",
            *(f"<p>{escape(line)}</p>" for line in about),
            f"<h2>Figures</h2>\n{_table(figure_rows(found))}",
            f"<h2>Classes</h2>\n{_table(class_rows(found))}",
            *(_figure(name, png) for name, png in pictures),
            "</body>\n</html>\n",
        ]
    )


def _pictures(compared: Compared) -> list[tuple[str, bytes]]:
    from training.reports.plots import draw_reliability  # here: Matplotlib takes a second

    drawn = []
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / "picture.png"
        for card, answers in zip(compared.cards, compared.evaluations, strict=True):
            title = f"{card.name} version {card.version}"
            draw_reliability(answers.calibration, answers.calibration_error, png, title)
            drawn.append((f"Reliability of {title}", png.read_bytes()))
        if write_sheet(compared, png):
            drawn.append(("Images that only one version gets right", png.read_bytes()))
    return drawn


def _table(rows: Sequence[Row]) -> str:
    head, *body = rows
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body]
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    return "\n".join(
        [
            f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>",
            *(f"<tr>{line}</tr>" for line in lines),
            "</tbody>\n</table>",
        ]
    )


def _figure(name: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f'<h2>{escape(name)}</h2>\n<img alt="{escape(name)}" src="data:image/png;base64,{data}">'
