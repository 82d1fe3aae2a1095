from __future__ import annotations

import json
from contextlib import closing
from types import SimpleNamespace

import httpx
import pytest

from classifier.loaded_model import LoadedModel
from service.api.oip import metadata
from service.inference.batching import BatchScheduler
from service.inference.catalog import Broken, Catalog, Loading
from service.inference.classifier import Classifier
from service.inference.decode_pool import DecodePool
from service.settings import Settings
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.anyio


async def test_the_server_names_itself_and_the_extensions_it_keeps(client: httpx.AsyncClient) -> None:
    for path in ("/v2", "/v2/"):
        assert (await client.get(path)).json() == {
            "name": "sightline",
            "version": metadata.VERSION,
            "extensions": ["binary_tensor_data", "classification", "model_configuration", "statistics"],
        }


async def test_the_models_are_listed_by_name(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v2/models")).json() == {"models": [COLOUR, GREY]}


async def test_a_model_names_its_tensors_and_its_versions(client: httpx.AsyncClient) -> None:
    about = (await client.get(f"/v2/models/{GREY}")).json()
    assert set(about) == {"name", "versions", "platform", "inputs", "outputs", "properties"}
    assert (about["name"], about["versions"], about["platform"]) == (GREY, ["1"], "openvino_onnx")
    assert about["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}]
    assert about["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 4]}]


async def test_every_version_of_a_model_describes_itself(client: httpx.AsyncClient) -> None:
    for version in (1, 2):
        about = (await client.get(f"/v2/models/{COLOUR}/versions/{version}")).json()
        assert (about["name"], about["versions"]) == (COLOUR, ["1", "2"])


async def test_the_properties_hold_what_a_caller_needs_of_the_card(
    client: httpx.AsyncClient, offline: LoadedModel
) -> None:
    properties = (await client.get(f"/v2/models/{COLOUR}")).json()["properties"]
    assert all(isinstance(value, str) for value in properties.values())
    assert json.loads(properties["labels"]) == ["red", "green", "blue"]
    assert properties["accuracy.test"] == "0.5000"
    assert properties["article"] == "A tiny network"
    assert (properties["engine"], properties["precision"]) == ("openvino", "float32")
    assert properties["device"] == offline.engine.device
    for form in ("UINT8 [n, 8, 8, 3]", "FP32 [n, 8, 8, 3] in 0..255", "BYTES [n] or [n, 1]"):
        assert form in properties["input"]


@pytest.mark.parametrize("path", [f"/v2/models/{COLOUR}/config", f"/v2/models/{COLOUR}/versions/1/config"])
async def test_the_configuration_says_what_triton_s_tools_look_for(
    client: httpx.AsyncClient, settings: Settings, path: str
) -> None:
    config = (await client.get(path)).json()
    assert (config["name"], config["platform"]) == (COLOUR, "openvino_onnx")
    assert config["max_batch_size"] == settings.max_images
    assert config["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "format": "FORMAT_NHWC", "dims": [8, 8, 3]}]
    assert config["output"] == [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [3]}]
    assert config["instance_group"][0]["kind"] == "KIND_CPU"
    queue = config["dynamic_batching"]["default_queue_policy"]
    assert queue["max_queue_size"] == settings.queue_limit
    assert json.loads(config["parameters"]["labels"]["string_value"]) == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("engine", "device", "kind", "platform"),
    [
        ("openvino", "AMD EPYC", "KIND_CPU", "openvino_onnx"),
        ("tensorflow", "CPU", "KIND_CPU", "tensorflow_keras"),
        ("tensorflow", "NVIDIA A100-SXM4-40GB", "KIND_GPU", "tensorflow_keras"),
        ("jax", "CPU", "KIND_CPU", "jax_keras"),
        ("jax", "NVIDIA H100 80GB HBM3", "KIND_GPU", "jax_keras"),
    ],
)
async def test_the_configuration_says_what_runs_the_network(
    offline: LoadedModel, settings: Settings, engine: str, device: str, kind: str, platform: str
) -> None:
    running = {"streams": 2, "max_in_flight": 3, "one_stream": False, "precision": "float32"}
    fake = SimpleNamespace(name=engine, device=device, **running)
    model = LoadedModel(offline.card, fake, offline.sample)  # type: ignore[arg-type]
    with closing(DecodePool(1)) as threads:
        config = metadata.config(Classifier(model, BatchScheduler(1), threads, settings), settings)
    assert config["platform"] == platform
    assert config["instance_group"] == [{"name": device, "kind": kind, "count": 2}]


async def test_the_repository_lists_every_version_with_its_state(client: httpx.AsyncClient) -> None:
    index = (await client.post("/v2/repository/index")).json()
    assert index == [
        {"name": name, "version": version, "state": "READY", "reason": ""}
        for name, version in ((COLOUR, "1"), (COLOUR, "2"), (GREY, "1"))
    ]
    assert (await client.post("/v2/repository/index", json={"ready": True})).json() == index


def test_a_version_that_does_not_answer_is_listed_with_its_reason(settings: Settings) -> None:
    catalog = Catalog(settings)
    catalog.entries = {"asl": {1: Broken("The model's files do not match its card"), 2: Loading()}}
    assert metadata.repository(catalog, ready_only=True) == []
    assert metadata.repository(catalog, ready_only=False) == [
        {
            "name": "asl",
            "version": "1",
            "state": "UNAVAILABLE",
            "reason": "The model's files do not match its card",
        },
        {"name": "asl", "version": "2", "state": "LOADING", "reason": ""},
    ]


@pytest.mark.parametrize(
    ("path", "entries"),
    [
        ("/v2/models/stats", [(COLOUR, "1"), (COLOUR, "2"), (GREY, "1")]),
        (f"/v2/models/{COLOUR}/stats", [(COLOUR, "1"), (COLOUR, "2")]),
        (f"/v2/models/{COLOUR}/versions/1/stats", [(COLOUR, "1")]),
    ],
)
async def test_statistics_are_of_all_models_one_model_or_one_version(
    client: httpx.AsyncClient, path: str, entries: list[tuple[str, str]]
) -> None:
    stats = (await client.get(path)).json()["model_stats"]
    assert [(entry["name"], entry["version"]) for entry in stats] == entries
    assert all(entry["inference_count"] >= 1 for entry in stats)  # the sample that proved it
