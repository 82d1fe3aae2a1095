"""How soon the page shows its first prediction: python -m load_tests.page_time [--rounds 10]

Starts a server and Chromium, and in each round opens the page anew, drops one photo on it, and takes the time in the
page itself, from the drop to the first bar. Needs Playwright and Chromium. Gives --out, the raw results.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from load_tests import record, servers

PHOTO = record.ROOT / "docs" / "chelsea.jpg"
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")

DROP = """async ([base64]) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const dropped = new DataTransfer();
    dropped.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
    const shown = new Promise((resolve) => {
        new MutationObserver((_, observer) => {
            if (document.querySelector(".result .bar")) { observer.disconnect(); resolve(performance.now()); }
        }).observe(document.body, { childList: true, subtree: true });
    });
    const began = performance.now();
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true }));
    return (await shown) - began;
}"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with servers.sightline(MODELS=str(options.store)) as server:
        took_ms = _taken(server.url, options.rounds)
    found = {"photo": PHOTO.name, "first_prediction_ms": took_ms}
    record.write(
        options.out, record.circumstances() | {"versions": record.versions(("playwright", "openvino"))} | found
    )
    print(f"median {statistics.median(took_ms):.0f} ms, longest {max(took_ms):.0f} ms, n={len(took_ms)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "latest" / "page.json", help="default: %(default)s"
    )
    return parser


def _taken(url: str, rounds: int) -> list[float]:
    from playwright import sync_api

    photo = base64.b64encode(PHOTO.read_bytes()).decode()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        took_ms = [_of_one(browser, url, photo) for _ in range(rounds)]
        browser.close()
    return took_ms


def _of_one(browser: Any, url: str, photo: str) -> float:
    page = browser.new_context().new_page()
    page.goto(url)
    page.wait_for_function("document.querySelector('#state').textContent === 'Ready'")
    took_ms: float = page.evaluate(DROP, [photo])
    page.context.close()
    return round(took_ms, 1)


if __name__ == "__main__":
    sys.exit(main())
