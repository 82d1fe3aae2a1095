"""How long a person waits for a first answer, on this machine: from opening the page, and from the click on a sample.

`python -m tests.e2e.clients.first_prediction` serves the shipped models to a Chromium and keeps what it measured.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from load_tests import record
from tests.e2e.clients import browsers
from tests.e2e.servers import serving, wait_until

RECORD = record.RESULTS / "first-prediction.json"


class Wait(NamedTuple):
    """Seconds, until the answer is on the page."""

    from_opening: float
    from_click: float


def waited(browser: browsers.sync_api.Browser, url: str) -> Wait:
    """As somebody meets the page who has not seen it before, with nothing in the browser's cache."""
    opened = time.perf_counter()
    with browsers.opened(browser, url) as page:
        sample = page.locator(".samples button").first
        sample.wait_for()
        clicked = time.perf_counter()
        sample.click()
        page.locator(".result .bar").first.get_by_text("%").first.wait_for()
        answered = time.perf_counter()
        return Wait(round(answered - opened, 3), round(answered - clicked, 3))


def main(times: int, to: Path) -> None:
    found = record.circumstances(("bentoml", "openvino"))
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server, browsers.launched() as browser:
        wait_until(server, "/readyz", 200)
        waits = [waited(browser, f"{server.url}/") for _ in range(times)]
    for name in Wait._fields:
        values = [getattr(wait, name) for wait in waits]
        found[f"{name}_s"] = {"median": statistics.median(values), "all": values}
    record.write(to, found)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--times", type=int, default=11)
    asked.add_argument("--out", type=Path, default=RECORD)
    options = asked.parse_args()
    main(options.times, options.out)
