"""One job in a process of its own, which then says how long it took and how much memory it and its helpers had."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from pathlib import Path

from classifier.loaded_model import LoadedModel
from classifier.scoring.score import Scoring, score
from classifier.scoring.sources import source_of
from classifier.store import ModelStore

MIB = 1024  # getrusage gives KiB


def main(store: str, model: str, version: str, images: str, out: str) -> None:
    with contextlib.closing(LoadedModel.open(ModelStore(Path(store)), model, int(version))) as loaded:
        began = time.monotonic()
        done = score(loaded, Scoring(source_of(images), images, Path(out)))
        seconds = time.monotonic() - began
    own, largest_helper = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    found = {"images": done.rows, "failed": done.failed, "seconds": round(seconds, 2)}
    print(json.dumps(found | {"process_mib": own // MIB, "largest_helper_mib": largest_helper // MIB}))


if __name__ == "__main__":
    main(*sys.argv[1:])
