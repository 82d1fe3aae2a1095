"""The page at `/`: what is served here and how to ask it."""

from __future__ import annotations

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from service.catalog import Catalog

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sightline</title>
<h1>Sightline</h1>
<p>This server classifies images. It is {state}.</p>
<ul>
{models}
</ul>
<p>Send it one:</p>
<pre>curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg' {base}v1/models/{example}/predict</pre>
</html>
"""


async def index(request: Request) -> Response:
    catalog: Catalog = request.app.state.catalog
    names = list(catalog.entries)
    lines = [f'<li><a href="v1/models/{escape(name)}">{escape(name)}</a></li>' for name in names]
    return HTMLResponse(
        _PAGE.format(
            state="ready" if catalog.is_ready else "not ready; <a href='readyz'>/readyz</a> says why",
            models="\n".join(lines),
            base=escape(str(request.base_url)),
            example=escape(names[0]) if names else "NAME",
        )
    )
