"""This checkout's server beside another checkout's, in alternating pairs: is the speed kept?

Run:    python -m load_tests.compare_checkouts OTHER_CHECKOUT [--starts 6] [--pairs 4] [--seconds 0.5] [--connections …]
Needs:  wrk and a quiet machine; takes about 10 minutes. A photo takes long: `--seconds 4` for 128 connections of them.
        A shared machine's speed drifts by a fifth within a second: many short pairs say more than few long ones.
Gives:  a table, and --out, the raw results: every measurement of both, the ratio of their medians, the ratio of each
        pair and the interval of its median, and where both came from. Ends with 1 where a request failed.

Each server runs in its checkout with this interpreter. It serves its own checkout's models, in the versions of
`load_tests.workload.VERSIONS`. Both are started anew several times, since a server measures its batch sizes at its
start. While one is measured the other is idle. Before that a sample of each one's answers is compared with this
checkout's offline predictor. Where versions were renewed in between, `--renewed` holds each server to its own models.
wrk posts in a closed loop, as in `make peers`. With `.` as the other checkout and `--other-precision float32` two
precisions of one checkout are compared. Of a `--store` without those versions its newest ones are measured.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from classifier import provenance
from load_tests import record, servers, workload
from load_tests.generators import wrk
from load_tests.generators.target import Target
from load_tests.peers import OURS, measure
from load_tests.record import Findings
from load_tests.servers import Server
from load_tests.workload import IMAGES, Pictures

Side = Literal["ours", "other"]
SIDES: tuple[Side, Side] = ("ours", "other")
LOAD = ("model", "image", "connections")
WARM_S = 1
LIBRARIES = ("bentoml", "uvicorn", "openvino", "pillow", "numpy")


class Comparison(NamedTuple):
    """One load: requests per second of both, medians over the pairs, and ours divided by the other's.

    `interval` is where the median of the pairs' ratios lies, with 95 % confidence.
    """

    model: str
    image: str
    connections: int
    ours_per_s: float
    other_per_s: float
    ratio_of_medians: float
    interval: tuple[float, float]
    pair_ratios: tuple[float, ...]


class Contender(NamedTuple):
    """A server that runs, and what is posted to it: a target for each size of pictures."""

    server: Server
    targets: Mapping[tuple[str, str], Target]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    checkouts: dict[Side, Path] = {"ours": record.ROOT, "other": options.other.resolve()}
    precisions: dict[Side, str] = {"ours": "auto", "other": options.other_precision}
    _complain(checkouts["other"])
    about = {"seconds": options.seconds, "starts": options.starts, "pairs": options.pairs, "commits": {}}
    results: Findings = record.circumstances(LIBRARIES) | about | {"runs": [], "comparisons": []}
    for side, checkout in checkouts.items():
        results["commits"][side] = provenance.commit_of(checkout)
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        stores = {side: _store(side, checkouts[side], options, Path(folder)) for side in SIDES}
        drawn = [one for model in options.models for one in workload.drawn(stores["ours"], model, Path(folder))]
        known = {side: stores[side if options.renewed else "ours"] for side in SIDES}
        pictures = {
            side: [workload.with_answers(known[side], one, precisions[side]) for one in drawn] for side in SIDES
        }
        for start in range(options.starts):
            with contextlib.ExitStack() as started:
                contenders = {
                    side: started.enter_context(
                        _contender(
                            checkouts[side],
                            {"MODELS": str(stores[side]), "PRECISION": precisions[side]},
                            pictures[side],
                            Path(folder, f"{side}-{start}"),
                        )
                    )
                    for side in SIDES
                }
                results["models"] = _checked(contenders, pictures, precisions)
                _measure(contenders, start * options.pairs, options, results)
    print(*table(compared(results["runs"])), f"written to {options.out}", sep="\n")
    return 1 if any(run["failures"] for run in results["runs"]) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("other", type=Path, metavar="OTHER_CHECKOUT", help="folder of the other checkout")
    add("--starts", type=int, default=6, help="of each server (default: %(default)s)")
    add("--pairs", type=int, default=4, help="measurements of each at each load after a start (default: %(default)s)")
    add("--seconds", type=float, default=0.5, help="of each measurement (default: %(default)s)")
    add("--models", nargs="+", choices=IMAGES, default=list(IMAGES))
    add("--connections", nargs="+", type=int, default=[1, 32, 128])
    add("--store", type=Path, help="one model store for both (default: models/ of each checkout)")
    add("--renewed", action="store_true", help="the models may differ; hold each server to its own")
    precisions = ("auto", "float32", "bfloat16")
    add("--other-precision", choices=precisions, default="auto", help="of the other server (default: as ours, auto)")
    add("--out", type=Path, default=record.LATEST / "compare-checkouts.json", help="default: %(default)s")
    return parser


def _complain(other: Path) -> None:
    measure.require([OURS])
    if not (other / "service" / "app.py").exists():
        raise SystemExit(f"{other} is no checkout of Sightline: it has no service/app.py")


def _store(side: Side, checkout: Path, options: argparse.Namespace, folder: Path) -> Path:
    return workload.measured_store((options.store or checkout / "models").resolve(), folder / f"{side}-models")


@contextlib.contextmanager
def _contender(
    checkout: Path, settings: Mapping[str, str], pictures: Sequence[Pictures], folder: Path
) -> Iterator[Contender]:
    """The server of a checkout, ready, with every other setting at its default."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("SIGHTLINE_", "PYTHONPATH"))}
    with servers.sightline(environ, checkout, 0, **settings) as server:
        targets = {
            (one.model, one.size): measure.target(server, OURS, one, folder / f"{one.model}-{one.size}")
            for one in pictures
        }
        yield Contender(server, targets)


def _checked(
    contenders: Mapping[Side, Contender],
    pictures: Mapping[Side, Sequence[Pictures]],
    precisions: Mapping[Side, str],
) -> dict[str, Any]:
    """Version and precision by model, the same on both sides unless others were asked for. Ends at a wrong answer."""
    models: dict[str, Any] = {}
    for ours, other in zip(pictures["ours"], pictures["other"], strict=True):
        said = {side: _described(contender.server, ours.model) for side, contender in contenders.items()}
        may_differ = {"precision": ""} if precisions["ours"] != precisions["other"] else {}
        if said["ours"] | may_differ != said["other"] | may_differ:
            raise SystemExit(f"the two servers differ in {ours.model}, so they cannot be compared: {said}")
        models[ours.model] = said["ours"] | {"other_precision": said["other"]["precision"]}
        for side in SIDES:
            try:
                measure.check(
                    contenders[side].server, OURS, {"ours": ours, "other": other}[side], said[side]["precision"]
                )
            except measure.WrongAnswer as wrong:
                raise SystemExit(f"stopped: {side}: {wrong}") from None
    return models


def _described(server: Server, model: str) -> dict[str, Any]:
    about = json.loads(servers.fetch(f"{server.url}/v1/models/{model}"))
    return {name: about[name] for name in ("version", "engine", "precision")}


def _measure(contenders: Mapping[Side, Contender], before: int, options: argparse.Namespace, results: Findings) -> None:
    """Every load in turn, pair after pair, of which there were some `before`; what is done is written at once.

    Many short pairs: a shared machine's speed drifts within seconds. Who is first alternates.
    """
    for contender in contenders.values():
        for target in contender.targets.values():
            wrk.load(target, measure.WARM_CONNECTIONS, WARM_S)
    sizes = list(contenders["ours"].targets)
    pairs = range(before + 1, before + options.pairs + 1)
    for pair, size, connections in itertools.product(pairs, sizes, options.connections):
        for side in SIDES if pair % 2 else reversed(SIDES):
            servers.wait_until_idle(contenders["ours"].server, contenders["other"].server)
            seen = wrk.load(contenders[side].targets[size], connections, options.seconds)
            load = {"pair": pair, "model": size[0], "image": size[1], "connections": connections, "side": side}
            results["runs"].append(load | seen)
            print(*load.values(), f"{seen['per_s']:,.0f} req/s", f"failures {seen['failures']}", flush=True)
        results["comparisons"] = [one._asdict() for one in compared(results["runs"])]
        record.write(options.out, results)


def compared(runs: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """One comparison a load, of the pairs that both sides have measured."""
    loads = dict.fromkeys(tuple(run[name] for name in LOAD) for run in runs)
    return [_compared(load, [run for run in runs if tuple(run[name] for name in LOAD) == load]) for load in loads]


def _compared(load: tuple[Any, ...], runs: Sequence[Mapping[str, Any]]) -> Comparison:
    ours, other = ({run["pair"]: run["per_s"] for run in runs if run["side"] == side} for side in SIDES)
    pairs = sorted(ours.keys() & other.keys())
    medians = (statistics.median(ours[pair] for pair in pairs), statistics.median(other[pair] for pair in pairs))
    ratios = tuple(_ratio(ours[pair], other[pair]) for pair in pairs)
    model, image, connections = load
    return Comparison(model, image, connections, *medians, _ratio(*medians), interval_of_median(ratios), ratios)


def interval_of_median(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median of what `values` were drawn from, by the order of the values alone.

    Conover, Practical Nonparametric Statistics, 3.2, with the normal approximation of the binomial distribution. Of
    fewer than six values the interval is all of them.
    """
    ascending = sorted(values)
    left = max(0, math.floor(len(values) / 2 - 1.96 * math.sqrt(len(values)) / 2))
    return ascending[left], ascending[-1 - left]


def _ratio(ours: float, other: float) -> float:
    return round(ours / other, 4) if other else float("inf")


def table(comparisons: Sequence[Comparison]) -> list[str]:
    """For people: a line a load, and the least ratio of medians."""
    lines = [f"{'load':36} {'ours/s':>9} {'other/s':>9} {'ratio':>7}  median of pairs, with 95 % confidence"]
    for one in comparisons:
        load = f"{one.model} {one.image}, {one.connections} connection{'s' * (one.connections > 1)}"
        pairs = f"{statistics.median(one.pair_ratios):.3f}, {one.interval[0]:.3f} to {one.interval[1]:.3f}"
        lines.append(f"{load:36} {one.ours_per_s:9,.0f} {one.other_per_s:9,.0f} {one.ratio_of_medians:7.3f}  {pairs}")
    least = min(comparisons, key=lambda one: one.ratio_of_medians)
    where = f"{least.model} {least.image} at {least.connections}"
    return [*lines, f"least ratio of medians {least.ratio_of_medians:.3f} ({where}), n={len(least.pair_ratios)} pairs"]


if __name__ == "__main__":
    sys.exit(main())
