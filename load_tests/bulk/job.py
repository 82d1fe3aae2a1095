"""One job in a process of its own, which then says how fast it was and how much memory it and its helpers had."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from classifier.loaded_model import LoadedModel
from classifier.scoring.progress import Progress
from classifier.scoring.score import Scoring, score
from classifier.scoring.sources import source_of
from classifier.store import ModelStore

MIB = 1024  # getrusage gives KiB


def main(store: str, model: str, version: str, images: str, out: str) -> None:
    with contextlib.closing(LoadedModel.open(ModelStore(Path(store)), model, int(version))) as loaded:
        began, reports = time.monotonic(), list[Progress]()
        done = score(loaded, Scoring(source_of(images), images, Path(out), report=reports.append))
        seconds = time.monotonic() - began
    own, largest_helper = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    found = {
        "images": done.rows,
        "failed": done.failed,
        "seconds": round(seconds, 2),
        "middle_per_s": round(middle_per_s(reports), 1),
    }
    print(json.dumps(found | {"process_mib": own // MIB, "largest_helper_mib": largest_helper // MIB}))


def middle_per_s(reports: Sequence[Progress]) -> float:
    """Images per second from a fifth of a job on to four fifths, when decoding and the network are both at work."""
    first, last = reports[len(reports) // 5], reports[len(reports) * 4 // 5]
    return (last.done - first.done) / (last.seconds - first.seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
