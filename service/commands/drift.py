"""Compare what a server counted of a version's answers with what its card expects.

METRICS is the URL of a server's metrics, a file of what it said, or - for stdin. With --since only what was counted
after an earlier file. The exit code is 1 where something has drifted.
"""

from __future__ import annotations

import json as json_text
import sys
from typing import Annotated

import typer

from classifier.commands.parameters import Json, Model, Models


def run(
    model: Model,
    models: Models,
    metrics: Annotated[
        str, typer.Argument(metavar="METRICS", help="A URL, a file, or -.")
    ] = "http://127.0.0.1:3000/metrics",
    since: Annotated[
        str | None, typer.Option(metavar="FILE", help="Only what was counted after this earlier look.")
    ] = None,
    json: Json = False,
) -> int:
    from classifier.store import ModelStore
    from service.drift.comparison import lines, rows
    from service.drift.scrape import between, counted, read_metrics

    card = ModelStore(models).card(*model)
    now = counted(read_metrics(metrics), card.name, card.version)
    if since is not None:
        later = between(counted(read_metrics(since), card.name, card.version), now)
        if later is None:
            print("the server was started anew since then; what it counted from its start is compared", file=sys.stderr)
        now = later or now
    compared = rows(card, now)
    if json:
        said = {"model": card.name, "version": card.version, "rows": [row.as_json() for row in compared]}
        print(json_text.dumps(said, indent=2))
    else:
        print("\n".join(lines(card, compared)))
    return int(any(row.verdict == "drifted" for row in compared))
