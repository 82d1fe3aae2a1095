"""The rows of a job from a Ray cluster: an actor for each processor, or each GPU, has a pipeline of its own.

Ray Data streams the parts of the job through them, and gives what a lost machine had to another one.
"""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from classifier import store
from classifier.engines import EngineOptions
from classifier.errors import SightlineError
from classifier.loaded_model import LoadedModel
from classifier.scoring.decoders import Decoders
from classifier.scoring.pipeline import Chunk, Pipeline, Scored
from classifier.scoring.sources import Reader

COLUMN = "pickled"


class UnusableCluster(SightlineError):
    """Ray is not installed, or there is no cluster at the address."""

    status = 503
    code = "unusable-cluster"
    title = "The Ray cluster cannot be used"


class Cluster(NamedTuple):
    """A Ray cluster: `auto` for the one that this machine is in, `10.0.0.1:6379`, or `local` for one of its own.

    The version's files go there from `models`.
    """

    address: str
    models: store.ModelStore


@contextmanager
def scored_on_ray(
    loaded: LoadedModel, read: Reader, cluster: Cluster, processes: int = 0
) -> Iterator[Callable[[Iterable[Chunk]], Iterator[Scored]]]:
    """Join a cluster and hand out what makes rows of chunks there, in their order, as the engine of `loaded` would.

    Every machine has to read what `read` reads. 0 `processes` decode for each actor on as many processors as it has.
    Raises UnusableCluster.
    """
    ray = _ray()
    own = {"include_dashboard": False} if cluster.address == "local" else {}
    try:
        ray.init(cluster.address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UnusableCluster(
            f"no Ray cluster answers at {cluster.address!r} ({error}); give auto, HOST:PORT or local"
        ) from error
    try:
        yield partial(_scored, loaded, read, cluster, processes)
    finally:
        ray.shutdown()


def _ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # a cluster that is started here would report to Ray's makers
    try:
        import ray.data
    except ImportError as missing:
        raise UnusableCluster('--ray needs Ray: `pip install "sightline[ray]"`') from missing
    return ray


def _scored(
    loaded: LoadedModel, read: Reader, cluster: Cluster, processes: int, chunks: Iterable[Chunk]
) -> Iterator[Scored]:
    """A block is a part, and a row of it is a chunk. Only names are in the blocks, unless they come of an archive."""
    ray = _ray()
    blocks = [ray.put(_table(of_part)) for _, of_part in groupby(chunks, attrgetter("part"))]
    if not blocks:
        return
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    share = _share(loaded, ray.cluster_resources())
    files = ray.put(_files(loaded, cluster.models))  # each machine fetches them once
    scored = ray.data.from_arrow_refs(blocks).map_batches(
        Scorer,
        fn_constructor_args=(files, _options(loaded), read, processes or share.processors),
        compute=ray.data.ActorPoolStrategy(size=min(share.actors, len(blocks))),
        num_cpus=share.processors,
        num_gpus=share.gpus,
        batch_size=None,
        batch_format="pyarrow",
    )
    for table in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):  # save each at once
        yield from _values(table)


class Scorer:
    """An actor: opens the version once, and makes the rows of part after part."""

    def __init__(self, files: Any, options: EngineOptions, read: Reader, processes: int) -> None:
        with tempfile.TemporaryDirectory() as root:
            name, version = _saved(_ray().get(files), Path(root))
            loaded = LoadedModel.open(store.ModelStore(Path(root)), name, version, options)
        self._pipeline = Pipeline(loaded, Decoders(read, loaded.card.input, processes))

    def __call__(self, table: Any) -> Any:
        return _table(self._pipeline.scored(_values(table)))


class _Share(NamedTuple):
    """How many actors a cluster is divided into, and what each of them gets."""

    actors: int
    processors: int
    gpus: int


def _share(loaded: LoadedModel, resources: dict[str, float]) -> _Share:
    processors, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if gpus and loaded.engine.name != "openvino":
        return _Share(gpus, max(1, processors // gpus), 1)
    return _Share(max(1, processors), 1, 0)


def _options(loaded: LoadedModel) -> EngineOptions:
    """What `loaded` came to on this machine, lest another kind of processor answers in another precision."""
    return EngineOptions(engine=loaded.engine.name, precision=loaded.engine.precision, one_stream=True)


def _files(loaded: LoadedModel, models: store.ModelStore) -> dict[str, bytes]:
    """The version's folder, as far as its engine reads it, by paths below a store."""
    card = loaded.card
    home = Path(card.name, str(card.version))
    left_out = {store.KERAS} if loaded.engine.name == "openvino" else set()
    files = {str(home / name): models.read(card, name) for name in card.files.keys() - left_out}
    return files | {str(home / store.CARD): (models.root / home / store.CARD).read_bytes()}


def _saved(files: dict[str, bytes], root: Path) -> tuple[str, int]:
    """Write a version's files below a store's root, and say which one it is."""
    for path, body in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)
    name, version = Path(next(iter(files))).parts[:2]
    return name, int(version)


def _table(values: Iterable[Chunk | Scored]) -> Any:
    import pyarrow

    return pyarrow.table({COLUMN: pyarrow.array(map(pickle.dumps, values), pyarrow.large_binary())})


def _values(table: Any) -> Iterator[Any]:
    for body in table[COLUMN]:
        yield pickle.loads(body.as_buffer())  # noqa: S301  (this job's own)
