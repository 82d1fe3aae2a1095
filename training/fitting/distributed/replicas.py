"""Copies of a network on several devices, which learn in step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.errors import SightlineError
from training.fitting.distributed.cluster import Cluster

Values = npt.NDArray[Any]


class WorkerLost(SightlineError):
    """Another worker of a fit ended, or cannot be reached. What was saved is whole, and the fit can go on from it."""

    code = "worker-lost"
    title = "A worker is lost"


def replicas_of(cluster: Cluster) -> Replicas | None:
    """One replica for each GPU of each worker, or for a worker's processors; None where there is one alone.

    With several workers it waits for all of them. Call it before TensorFlow computes anything. Raises WorkerLost.
    """
    import tensorflow as tf

    if cluster.workers > 1:
        with _all_there(cluster):
            return Replicas(cluster, tf.distribute.MultiWorkerMirroredStrategy())
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return Replicas(cluster, tf.distribute.MirroredStrategy())
    return None


class Replicas:
    """The replicas of a fit, numbered over all workers. Every worker has as many, and calls all methods in turn."""

    def __init__(self, cluster: Cluster, strategy: Any) -> None:
        self.cluster = cluster
        self.strategy = strategy
        self.count: int = strategy.num_replicas_in_sync
        here = self.count // cluster.workers
        self.here = range(cluster.number * here, (cluster.number + 1) * here)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Variables that are made in it exist on each replica, and begin as the chief's. Raises WorkerLost."""
        with _all_there(self.cluster), self.strategy.scope():
            yield

    def each(self, make: Callable[[int], Any]) -> Any:
        """A value for each replica here, by its number."""
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: make(context.replica_id_in_sync_group)
        )

    def of(self, value: Any) -> tuple[Any, ...]:
        """The parts of a value or variable that belong to the replicas here."""
        parts: tuple[Any, ...] = self.strategy.experimental_local_results(value)
        return parts

    def total(self, here: Values) -> Values:
        """The sum of what each worker gives. Raises WorkerLost."""
        import tensorflow as tf

        given = self.each(lambda replica: tf.constant(here if replica == self.here[0] else np.zeros_like(here)))
        with _all_there(self.cluster):
            total: Values = self.strategy.reduce("SUM", given, axis=None).numpy()
        return total

    def from_chief(self, values: Values) -> Values:
        """What the chief gives, on every worker; of the others only shape and type count. Raises WorkerLost."""
        return self.total(values if self.cluster.is_chief else np.zeros_like(values))

    def agree(self, number: int) -> bool:
        """Whether every worker gives the same number, of at most 62 bits. Raises WorkerLost."""
        same = self.from_chief(np.array([number])) == number
        return bool(self.total(np.array([0 if same.all() else 1])) == 0)

    def share(self, variable: Any) -> None:
        """Give a variable the chief's value on every replica. Raises WorkerLost."""
        variable.assign(self.from_chief(variable.numpy()))

    def average(self, variable: Any) -> None:
        """Give a variable the mean of its values on all replicas. Raises WorkerLost."""
        values = [part.numpy() for part in self.of(variable.value)]
        variable.assign(self.total(np.sum(values, axis=0)) / self.count)


@contextmanager
def _all_there(cluster: Cluster) -> Iterator[None]:
    """Raise WorkerLost for what TensorFlow raises when a worker has gone."""
    import tensorflow as tf

    lost = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
    )
    try:
        yield
    except lost as error:
        if cluster.workers == 1:
            raise
        raise WorkerLost(
            f"{cluster}: another worker ended or cannot be reached; start all of them again with --resume"
        ) from error
