"""A hook of MkDocs: a link to what lies in the repository and is no page of the site becomes its path as text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """The page's text with such links replaced. MkDocs calls it for each page."""
    here = (DOCS / page.file.src_uri).parent

    def kept_or_named(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        path = (here / target).resolve()
        if re.match(r"[a-z]+:", target) or (path.is_file() and path.is_relative_to(DOCS)):
            return link[0]
        return f"{text} (`{path.relative_to(DOCS.parent)}`)" if path.exists() else link[0]

    return _LINK.sub(kept_or_named, markdown)
