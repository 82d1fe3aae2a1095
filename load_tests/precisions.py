"""What bfloat16 gains over float32 in one process, and what it costs: the networks alone, taking turns.

Run:    python -m load_tests.precisions [--models asl …] [--seconds 2] [--rounds 5]
Takes:  two minutes. Needs a processor with native bfloat16.
Gives:  --out, the raw results: images per second of every version in each precision, a figure a round, and from its
        card the accuracy in each.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classifier.card import Card, Precision
from classifier.engines import Engine, EngineOptions, open_engine
from classifier.engines.openvino import supports_bfloat16
from classifier.store import ModelStore
from load_tests import record
from load_tests.limit import inferred

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
BATCH = 16


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not supports_bfloat16():
        sys.exit("this processor has no native bfloat16 (AVX512-BF16 or AMX), so there is nothing to compare")
    store = ModelStore(options.store)
    known = store.versions()
    cards = [store.card(name, version) for name in options.models or known for version in known[name]]
    versions = []
    for card in cards:
        versions.append(_compared(card, store.folder(card.name, card.version), options))
        print(versions[-1], flush=True)
    how = {"batch": BATCH, "seconds": options.seconds, "versions": versions}
    record.write(options.out, record.circumstances(("openvino",)) | how)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", help="default: all there are")
    add("--seconds", type=float, default=2.0, help="of each measurement (default: %(default)s)")
    add("--rounds", type=int, default=5, help="default: %(default)s")
    add("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    add("--out", type=Path, default=record.RESULTS / "latest" / "precisions.json", help="default: %(default)s")
    return parser


def _compared(card: Card, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *card.input.shape), np.uint8)
    per_s: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    with contextlib.ExitStack() as opened:
        engines = {precision: opened.enter_context(_engine(card, folder, precision)) for precision in PRECISIONS}
        for _ in range(options.rounds):
            for precision, engine in engines.items():
                per_s[precision].append(inferred(engine, pixels, options.seconds))
    checks = {precision: card.check_of("openvino", precision) for precision in PRECISIONS}
    accuracy = {precision: check.accuracy for precision, check in checks.items() if check}
    return {"model": card.name, "version": card.version, "per_s": per_s, "accuracy": accuracy}


def _engine(card: Card, folder: Path, precision: Precision) -> contextlib.closing[Engine]:
    how = EngineOptions(engine="openvino", precision=precision, warm_batch_sizes=(BATCH,))
    return contextlib.closing(open_engine(card, folder, how))


if __name__ == "__main__":
    sys.exit(main())
