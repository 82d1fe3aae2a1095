"""Our server beside others: the same network, decoding, precision and images, in the same run.

Run:    python -m load_tests.peers [--peers mosec …] [--models asl …] [--connections 32 …] [--seconds 3] [--rounds 3]
Needs:  .venv-peers (`make peers` makes it) and wrk; takes about 25 minutes in full.
Gives:  --out, the raw results. Each measurement replaces the same one there, so that a long run can be split; with
        --resume those already there are not made again. `make docs` makes the tables of docs/performance.md.

Of each model the version in `load_tests.workload.VERSIONS` is measured.

Closed loop: as many requests are under way as there are connections. In each round each server is started alone, by
model, its answers are compared with the offline predictor's, and it is warmed up with 32 connections.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from classifier.engines import EngineOptions
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from load_tests import record, workload
from load_tests.generators import wrk
from load_tests.peers import PEERS, measure
from load_tests.workload import IMAGES, Pictures

CONNECTIONS = (1, 32, 128)
WARM_S = 1
KEY = ("peer", "workers", "model", "image", "connections", "round")


class Turn(NamedTuple):
    """One start of one server: its measurements differ in images and connections."""

    round: int
    peer: str
    workers: int
    model: str
    version: int
    precision: str


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    measure.require(options.peers)
    results = record.read(options.out) or {"sessions": [], "runs": []}
    results["sessions"].append(_session(options))
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        options.store = workload.measured_store(options.store, Path(folder, "models"))
        prepared = {model: _pictures(model, options.store, Path(folder)) for model in options.models}
        broken = [
            turn for turn in _turns(options) if not _taken(turn, prepared[turn.model], options, results, Path(folder))
        ]
    print(f"written to {options.out}", *(f"BROKEN {turn}" for turn in broken), sep="\n")
    return 1 if broken else 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    add("--models", nargs="+", choices=IMAGES, default=list(IMAGES))
    add("--connections", nargs="+", type=int, default=list(CONNECTIONS))
    add("--workers", nargs="+", type=int, help="only with these counts of workers (default: each peer's)")
    add("--seconds", type=int, default=3, help="of each measurement (default: %(default)s)")
    add("--rounds", nargs="+", type=int, default=[1, 2, 3], help="their numbers (default: 1 2 3)")
    add("--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="auto: what our server chooses")
    add("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    add("--out", type=Path, default=record.LATEST / "peers.json", help="default: %(default)s")
    add("--resume", action="store_true", help="skip what --out holds already")
    return parser


def _session(options: argparse.Namespace) -> dict[str, Any]:
    asked = {name: getattr(options, name) for name in ("seconds", "precision")}
    here = record.circumstances(("bentoml", "openvino", "pillow", "numpy"))
    return here | asked | {"warm_s": WARM_S, "peers_libraries": measure.libraries()}


def _pictures(model: str, store: Path, folder: Path) -> list[Pictures]:
    return [workload.with_answers(store, pictures) for pictures in workload.drawn(store, model, folder)]


def _precision(model: str, options: argparse.Namespace) -> str:
    """What our server runs the model in, unless an option says otherwise: it chooses by the card and the processor."""
    if options.precision != "auto":
        return str(options.precision)
    loaded = LoadedModel.open(ModelStore(options.store), model, options=EngineOptions(engine="openvino"))
    loaded.close()
    return loaded.engine.precision


def _turns(options: argparse.Namespace) -> Iterator[Turn]:
    precisions = {model: _precision(model, options) for model in options.models}
    versions = {model: ModelStore(options.store).card(model).version for model in options.models}
    for number in options.rounds:
        for model in options.models:
            for peer in options.peers:
                for workers in PEERS[peer].workers:
                    if not options.workers or workers in options.workers:
                        precision = PEERS[peer].precision or precisions[model]
                        yield Turn(number, peer, workers, model, versions[model], precision)


def _taken(turn: Turn, *about: Any) -> bool:
    """Take a turn; one that breaks is named and costs the others nothing. A wrong answer ends the whole run."""
    try:
        _take(turn, *about)
    except measure.WrongAnswer as wrong:
        raise SystemExit(f"stopped: {wrong}") from None
    except (OSError, RuntimeError) as error:
        print(f"BROKEN {turn}: {error}", flush=True)
        return False
    return True


def _take(
    turn: Turn, sizes: Sequence[Pictures], options: argparse.Namespace, results: dict[str, Any], folder: Path
) -> None:
    """Start the server and make every measurement of this turn that is wanted, keeping each at once."""
    kept = {tuple(run[part] for part in KEY) for run in results["runs"]} if options.resume else set()
    wanted = {size.size: [c for c in options.connections if _key(turn, size.size, c) not in kept] for size in sizes}
    sizes = [size for size in sizes if wanted[size.size]]
    if not sizes:
        return
    with measure.serving(turn.peer, turn.workers, turn.model, turn.precision, options.store) as server:
        measure.wait(server, turn.peer, sizes[0])
        for size in sizes:
            measure.settle(server, turn.peer, size)
            measure.check(server, turn.peer, size, turn.precision)
            target = measure.target(server, turn.peer, size, folder / "bodies")
            wrk.load(target, measure.WARM_CONNECTIONS, WARM_S)
            for connections in wanted[size.size]:
                measure.settle(server, turn.peer, size)
                seen = wrk.load(target, connections, options.seconds)
                _keep(dict(zip(KEY, _key(turn, size.size, connections), strict=True)), turn, seen, results)
                record.write(options.out, results)


def _key(turn: Turn, image: str, connections: int) -> tuple[str | int, ...]:
    return turn.peer, turn.workers, turn.model, image, connections, turn.round


def _keep(key: dict[str, Any], turn: Turn, seen: dict[str, Any], results: dict[str, Any]) -> None:
    runs = [run for run in results["runs"] if any(run[part] != value for part, value in key.items())]
    about = {"version": turn.version, "precision": turn.precision, "session": len(results["sessions"]) - 1}
    results["runs"] = [*runs, key | about | seen]
    named = " ".join(str(value) for value in key.values())
    figures = f"{seen['per_s']:8,.0f} req/s  p50 {seen['p50_ms']:.2f}  p99 {seen['p99_ms']:.2f} ms"
    print(f"{named:48} {figures}  failures {seen['failures']}  {seen['memory_mb']:.0f} MB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
