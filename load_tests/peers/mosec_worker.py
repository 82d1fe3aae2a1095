"""The network behind mosec: Rust takes the requests and forms the batches, Python workers decode and run them."""

from __future__ import annotations

import os

from load_tests.peers.network import MAX_BATCH, MAX_WAIT_MS, Conditions, Network

CONDITIONS = Conditions.from_environment()
os.environ |= {"MOSEC_ADDRESS": "127.0.0.1", "MOSEC_PORT": str(CONDITIONS.port), "MOSEC_LOG_LEVEL": "warning"}
os.environ |= {"MOSEC_TIMEOUT": "60000"}  # of a request; after the default of 3 s it would fail instead of waiting

from mosec import Server, Worker  # noqa: E402  (reads the environment)

from classifier.engines import Probabilities  # noqa: E402
from classifier.images import Pixels  # noqa: E402


class Classify(Worker):
    """One process with the network."""

    def __init__(self) -> None:
        super().__init__()
        self._network = Network(CONDITIONS)

    def deserialize(self, data: bytes) -> Pixels:
        return self._network.decode(data)

    def forward(self, data: list[Pixels]) -> list[Probabilities]:
        return list(self._network.probabilities(data))

    def serialize(self, data: Probabilities) -> bytes:
        return self._network.answer(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Classify, num=CONDITIONS.workers, max_batch_size=MAX_BATCH, max_wait_time=MAX_WAIT_MS, route="/predict"
    )
    server.run()
