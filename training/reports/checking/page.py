"""A check as one HTML file: it needs no other, asks nobody for anything, and opens from a disk."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from pathlib import Path

from training.checking.check import Checked
from training.checking.finding import Case, Finding, Severity
from training.datasets.listing import Listing
from training.reports.checking.page_parts import SCRIPT, STYLE
from training.reports.checking.text import features_line, verdict
from training.reports.checking.thumbnails import thumbnails

MOST_CASES = 50  # of a finding
MOST_PICTURES = 8  # of a case
_SQUARE = "Pictures are squeezed to a square, as a network takes them."

_ADVICE: dict[Severity | None, str] = {
    "problem": "Put the problems right before you fit: each makes a figure or a label wrong.",
    "warning": "Nothing is wrong for certain. Look at the warnings before you fit.",
    "note": "Nothing stands against a fit. The notes may stay as they are.",
    None: "Nothing stands against a fit.",
}


def write_page(checked: Checked, listing: Listing, path: Path) -> None:
    """Write the page, with small pictures of the files that it shows."""
    shown = (file for each in checked.findings for case in _shown(each) for file in case.files[:MOST_PICTURES])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(checked, thumbnails(listing, shown)), encoding="utf-8")


def page(checked: Checked, pictures: Mapping[str, str]) -> str:
    """The page's HTML. `pictures` are `data:` URLs by file."""
    title = f"Data check of {checked.name}"
    policy = f"default-src 'none'; img-src data:; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; base-uri 'none'"
    worst = checked.findings[0].severity if checked.findings else None
    splits = ", ".join(f"{split} {count:,}" for split, count in checked.images.items())
    contents = (
        f'<li class="{each.severity}"><span class="severity">{each.severity}</span>'
        f'<a href="#finding-{number}">{escape(each.title)}</a></li>'
        for number, each in enumerate(checked.findings, start=1)
    )
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>",
            f"<h1>{escape(title)}</h1>",
            f'<p class="verdict">{escape(verdict(checked))}. {_ADVICE[worst]}</p>',
            f'<p class="quiet">{escape(splits)}. {escape(features_line(checked))} {_SQUARE}</p>\n</header>',
            *(['<nav aria-label="Findings">\n<ul class="contents">', *contents, "</ul>\n</nav>"] if worst else []),
            "<main>",
            *(_section(number, each, pictures) for number, each in enumerate(checked.findings, start=1)),
            f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )


def _hash(text: str) -> str:
    """What a content security policy calls an inline style or script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shown(finding: Finding) -> tuple[Case, ...]:
    return finding.cases[:MOST_CASES]


def _section(number: int, finding: Finding, pictures: Mapping[str, str]) -> str:
    more = len(finding.cases) - len(_shown(finding))
    return "\n".join(
        [
            f'<section class="{finding.severity}" id="finding-{number}" aria-labelledby="title-{number}">',
            f'<h2 id="title-{number}"><span class="severity">{finding.severity}</span>{escape(finding.title)}</h2>',
            f"<p>{escape(finding.advice)}</p>",
            *([_table(number, finding, pictures)] if finding.cases else []),
            *([f'<p class="quiet">and {more:,} more; <code>--json</code> lists all</p>'] if more else []),
            "</section>",
        ]
    )


def _table(number: int, finding: Finding, pictures: Mapping[str, str]) -> str:
    cases = _shown(finding)
    with_files, scored = any(case.files for case in cases), any(case.score is not None for case in cases)
    with_pictures = any(file in pictures for case in cases for file in case.files[:MOST_PICTURES])
    heads = [
        *(['<th scope="col">pictures</th>'] if with_pictures else []),
        *([_head("files")] if with_files else []),
        _head("what"),
        *([_head("score")] if scored else []),
    ]
    rows = ("".join(_cells(case, pictures if with_pictures else None, with_files, scored)) for case in cases)
    return "\n".join(
        [
            f'<div class="scroll" role="region" aria-label="Cases of finding {number}" tabindex="0">',
            f'<table class="sortable">\n<thead><tr>{"".join(heads)}</tr></thead>\n<tbody>',
            *(f"<tr>{row}</tr>" for row in rows),
            "</tbody>\n</table>\n</div>",
        ]
    )


def _head(name: str) -> str:
    return f'<th scope="col" aria-sort="none"><button type="button">{name}</button></th>'


def _cells(case: Case, pictures: Mapping[str, str] | None, with_files: bool, scored: bool) -> list[str]:
    cells = []
    if pictures is not None:
        shown = [file for file in case.files[:MOST_PICTURES] if file in pictures]
        images = (f'<img alt="{escape(file)}" src="{pictures[file]}">' for file in shown)
        cells.append(f'<td><div class="pictures">{"".join(images)}</div></td>')
    if with_files:
        more = f" and {len(case.files) - MOST_PICTURES:,} more" if len(case.files) > MOST_PICTURES else ""
        names = "<br>".join(escape(file) for file in case.files[:MOST_PICTURES])
        cells.append(f"<td>{names}{more}</td>")
    cells.append(f"<td>{escape(case.said)}</td>")
    if scored:
        cells.append(f'<td class="number" data-value="{case.score or 0}">{case.score or 0:,.4g}</td>')
    return cells
