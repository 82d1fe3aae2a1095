"""What a roll-out promises, measured: nobody notices a new version, and a bad one does not stay.

Run:    python -m load_tests.rollout [--model cifar-10] [--switches 50 --broken 10 --weights 10 --canaries 10]
Needs:  wrk.
Gives:  --out, what was found; ends with 1 where a promise is broken.

Starts a server of its own on a copy of the store, which holds two versions of one model, and watches it. The numbers
above are what the promises are about and take some minutes; the defaults are a short look.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from classifier.card import Card
from classifier.store import ModelStore
from load_tests import record
from load_tests.generators.target import written
from load_tests.pictures import jpegs
from load_tests.record import Findings
from load_tests.rollout import canaries, switches
from load_tests.rollout.server import served
from load_tests.rollout.versions import copy

PICTURES = 27


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    promises: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="rollout-") as folder:
        store = _two_versions(options.store, options.model, Path(folder, "models"))
        found = record.circumstances(("openvino",)) | {"model": options.model, "promises": promises}
        found |= _measured(options, store, Path(folder), promises)
    record.write(options.out, found)
    print(json.dumps(found, indent=1))
    for promise, kept in promises.items():
        print(f"{'kept  ' if kept else 'BROKEN'} {promise}")
    print(f"written to {options.out}")
    return 0 if all(promises.values()) else 1


def _measured(options: argparse.Namespace, store: Path, folder: Path, promises: dict[str, bool]) -> Findings:
    spec = ModelStore(store).card(options.model, 1).input
    pictures = jpegs(folder / "pictures", (spec.width, spec.height), PICTURES, grey=spec.channels == 1)
    with served(options, store, options.model) as one:
        path, bodies = f"/v1/models/{options.model}/predict", [picture.body for picture in pictures]
        target = written(one.server, path, "image/jpeg", bodies, folder / "bodies")
        found = switches.measured(one, target, options, promises)
        found["rollback"] = canaries.rollback(one, options.canaries, promises)
        return found | {"canaries": canaries.judged(one, target, options, promises)}


def _two_versions(store: Path, name: str, folder: Path) -> Path:
    """A store with this model alone, its newest version as version 1, and a copy of that as version 2."""
    source = ModelStore(store)
    newest = source.card(name)
    models = ModelStore(folder)

    def fill(draft: Path) -> Card:
        shutil.copytree(source.folder(name), draft, dirs_exist_ok=True)
        return newest

    models.save(name, fill)
    copy(models, name, 1)
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    add("--model", default="cifar-10", help="default: %(default)s")
    add("--switches", type=int, default=5, help="between two versions (default: %(default)s)")
    add("--broken", type=int, default=6, help="versions dropped in (default: %(default)s)")
    add("--weights", type=int, default=3, help="changes of a canary's weight (default: %(default)s)")
    add("--canaries", type=int, default=1, help="that are right, as many that are wrong (default: %(default)s)")
    add("--seconds", type=int, default=5, help="of load before (default: %(default)s)")
    add("--out", type=Path, default=record.LATEST / "rollout.json", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
