"""A version that knows what it has seen says so of every image, whatever the route; any other answers as before."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from classifier import images
from classifier.card import PredictionSetRecord, SetQuantile, Share
from classifier.store import ModelStore
from service.api.routes import create_app, serve_catalog
from service.inference.catalog import Catalog
from service.settings import Settings
from tests.service.conftest import client_of
from tests.service.pictures import TEXT
from tests.tiny_models import COLOUR, save_tiny_model

pytestmark = pytest.mark.anyio

KNOWING = "tiny-knowing"
PREDICT = f"/v1/models/{KNOWING}/predict"
INFER = f"/v2/models/{KNOWING}/infer"
LABELS = ("red", "green", "blue")
SETS = PredictionSetRecord(
    fitted_on="validation",
    fitted_images=100,
    checked_on="test",
    quantiles=(
        SetQuantile(
            coverage=0.9,
            quantile=1.0,
            held=(held := Share(images=100, value=0.9, interval=(0.8, 0.95))),
            held_served=held,
            size=3.0,
        ),
    ),
)


def flat(brightness: int) -> bytes:
    """A picture of one grey; the tiny network takes its brightness for familiarity."""
    return images.encode_png(np.full((12, 12, 3), brightness, np.uint8))


BLACK, GREY = flat(0), flat(128)


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Catalog]:
    root: Path = tmp_path_factory.mktemp("knowing")
    store = ModelStore(root)
    saved = save_tiny_model(store, KNOWING, LABELS, (12, 12, 3), seed=3, with_familiarity=True)
    path = store.folder(KNOWING, saved.version) / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_sets": SETS.model_dump(mode="json")}))
    catalog = Catalog(Settings(models=root, engine="openvino", precision="float32"))
    await catalog.load()
    catalog.check_ready()
    yield catalog
    await catalog.close()


@pytest.fixture
async def knowing(served: Catalog) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app()
    serve_catalog(app, served)
    async with client_of(app) as client:
        yield client


async def test_an_image_unlike_all_others_is_said_to_be_and_its_predictions_stay(knowing: httpx.AsyncClient) -> None:
    black, grey = [(await knowing.post(PREDICT, content=body)).json() for body in (BLACK, GREY)]
    assert (black["familiar"], black["familiarity"]) == (False, 0.0)
    assert grey["familiar"] is True
    assert grey["familiarity"] == pytest.approx(128 / 255, abs=1e-3)
    assert [len(answer["predictions"]) for answer in (black, grey)] == [3, 3]


async def test_each_image_of_a_batch_is_judged_by_itself(knowing: httpx.AsyncClient) -> None:
    files = [("images", ("a.png", body, "image/png")) for body in (GREY, TEXT, BLACK)]
    results = (await knowing.post(f"{PREDICT}-batch", files=files)).json()["results"]
    assert [result.get("familiar") for result in results] == [True, None, False]


async def test_a_version_without_a_familiarity_answers_as_before(client: httpx.AsyncClient) -> None:
    answer = (await client.post(f"/v1/models/{COLOUR}/predict", content=BLACK)).json()
    assert set(answer) == {"model", "version", "predictions"}


async def test_a_coverage_gives_the_labels_of_a_set_and_leaves_the_predictions(knowing: httpx.AsyncClient) -> None:
    answer = (await knowing.post(f"{PREDICT}?coverage=0.9&top_k=1", content=GREY)).json()
    assert answer["prediction_set"]["coverage"] == 0.9
    assert sorted(answer["prediction_set"]["labels"]) == sorted(LABELS)  # at a quantile of 1 all of them
    assert answer["prediction_set"]["labels"][0] == answer["predictions"][0]["label"]
    assert len(answer["predictions"]) == 1


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ("coverage=0.8", 422, "there is: 0.9"),
        ("coverage=2", 400, "between 0 and 1"),
        ("coverage=nan", 400, "between 0 and 1"),
        ("coverage=0.9&coverage=0.9", 400, "coverage is given more than once"),
        ("cover=0.9", 400, "there is: top_k, coverage"),
    ],
)
async def test_a_coverage_that_cannot_be_had_is_refused_saying_which_can(
    knowing: httpx.AsyncClient, asked: str, status: int, said: str
) -> None:
    answer = await knowing.post(f"{PREDICT}?{asked}", content=GREY)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


async def test_a_version_without_sets_says_that_it_has_none(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/v1/models/{COLOUR}/predict?coverage=0.9", content=GREY)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown-coverage")


def tensor(outputs: list[dict[str, Any]] | None = None, *, binary: bool = False) -> dict[str, Any]:
    pixels = np.stack([np.full((12, 12, 3), brightness, np.uint8) for brightness in (0, 128)])
    image = {"name": "image", "shape": pixels.shape, "datatype": "UINT8", "data": pixels.ravel().tolist()}
    asked: dict[str, Any] = {"inputs": [image], "parameters": {"binary_data_output": binary}}
    return asked | ({"outputs": outputs} if outputs else {})


async def test_the_protocol_has_familiarity_as_a_second_output_with_its_threshold(knowing: httpx.AsyncClient) -> None:
    outputs = (await knowing.post(INFER, json=tensor())).json()["outputs"]
    assert [(output["name"], output["shape"]) for output in outputs] == [
        ("probabilities", [2, 3]),
        ("familiarity", [2, 1]),
    ]
    assert outputs[1]["data"] == pytest.approx([0, 128 / 255], abs=1e-3)
    assert outputs[1]["parameters"] == {"threshold": 0.05}


async def test_both_outputs_follow_the_json_as_bytes_in_their_order(knowing: httpx.AsyncClient) -> None:
    answer = await knowing.post(INFER, json=tensor(binary=True))
    head = int(answer.headers["inference-header-content-length"])
    sizes = [output["parameters"]["binary_data_size"] for output in json.loads(answer.content[:head])["outputs"]]
    assert sizes == [2 * 3 * 4, 2 * 4]
    numbers = np.frombuffer(answer.content[head:], "<f4")
    assert numbers[:6].reshape(2, 3).sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert numbers[6:] == pytest.approx([0, 128 / 255], abs=1e-3)


async def test_one_output_may_be_asked_for_alone(knowing: httpx.AsyncClient) -> None:
    outputs = (await knowing.post(INFER, json=tensor([{"name": "familiarity"}]))).json()["outputs"]
    assert [output["name"] for output in outputs] == ["familiarity"]


async def test_the_protocols_metadata_names_both_outputs(knowing: httpx.AsyncClient) -> None:
    about = (await knowing.get(f"/v2/models/{KNOWING}")).json()
    assert [(output["name"], output["shape"]) for output in about["outputs"]] == [
        ("probabilities", [-1, 3]),
        ("familiarity", [-1, 1]),
    ]
    assert about["properties"]["familiarity_threshold"] == "0.05"
    config = (await knowing.get(f"/v2/models/{KNOWING}/config")).json()
    assert [output["dims"] for output in config["output"]] == [[3], [1]]


async def test_the_metrics_count_unfamiliar_images_and_the_scores_of_all(
    knowing: httpx.AsyncClient, served: Catalog
) -> None:
    def read(name: str) -> float:
        value = served.metrics.registry.get_sample_value(name, {"model": KNOWING, "version": "1"})
        assert value is not None
        return value

    before = read("sightline_unfamiliar_total"), read("sightline_familiarity_count")
    for body in (BLACK, GREY, BLACK):
        await knowing.post(PREDICT, content=body)
    assert read("sightline_unfamiliar_total") - before[0] == 2
    assert read("sightline_familiarity_count") - before[1] == 3
