"""The network behind LitServe: FastAPI takes the requests, worker processes form batches, decode and run them."""

from typing import Annotated

import litserve
from fastapi import Body, Response

from classifier.engines import Probabilities
from classifier.images import Pixels
from load_tests.peers.network import MAX_BATCH, MAX_WAIT_MS, Conditions, Network

CONDITIONS = Conditions.from_environment()


class Classify(litserve.LitAPI):
    """The steps of a request, which LitServe calls one by one."""

    def setup(self, device: str) -> None:
        self._network = Network(CONDITIONS)

    def decode_request(self, request: Annotated[bytes, Body()]) -> Pixels:
        return self._network.decode(request)

    def batch(self, inputs: list[Pixels]) -> list[Pixels]:
        return inputs

    def predict(self, x: list[Pixels]) -> Probabilities:
        return self._network.probabilities(x)

    def unbatch(self, output: Probabilities) -> list[Probabilities]:
        return list(output)

    def encode_response(self, output: Probabilities) -> Response:
        return Response(self._network.answer(output), media_type="application/json")


if __name__ == "__main__":
    api = Classify(max_batch_size=MAX_BATCH, batch_timeout=MAX_WAIT_MS / 1000, api_path="/predict")
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=CONDITIONS.workers, timeout=60, fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=CONDITIONS.port,
        num_api_servers=CONDITIONS.workers,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
