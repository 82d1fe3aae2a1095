"""python -m tests.hostile FOLDER [--seed 0] [--count 2000]: the pictures as files, and what is right in index.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.hostile import drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=2_000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    index = []
    for number, hostile in enumerate(drawn(options.seed, options.count)):
        file = f"{number:05d}"
        (options.folder / file).write_bytes(hostile.body)
        index.append({"file": file, "name": hostile.name, "codes": sorted(hostile.codes)})
    (options.folder / "index.json").write_text(json.dumps(index, indent=0))


if __name__ == "__main__":
    main()
