from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from classifier.card import Sample, read_card, write_card
from classifier.engines import EngineOptions
from classifier.engines.throughput import SIZES, Throughput
from classifier.errors import OutOfMemory, UnknownModel
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from service.api.routes import create_app, serve_catalog
from service.errors import BrokenForward, NotReady, NotServed
from service.inference.catalog import DEAD_S, STUCK_S, Broken, Catalog, Loading
from service.inference.classifier import Classifier
from service.inference.decode_pool import DecodePool
from service.settings import Settings
from tests.classifier.engines.straying import Strays
from tests.service.conftest import client_of
from tests.tiny_models import COLOUR, GREY, passed_check

pytestmark = pytest.mark.anyio


@pytest.fixture
def models(tiny_models_root: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(tiny_models_root, tmp_path / "models"))


@pytest.fixture
async def unloaded(models: Path) -> AsyncIterator[Catalog]:
    catalog = Catalog(Settings(models=models, engine="openvino", precision="float32"))
    yield catalog
    await catalog.close()


async def test_the_newest_version_is_the_default(catalog: Catalog) -> None:
    assert catalog.find(COLOUR).card.version == 2
    assert catalog.find(GREY).card.version == 1


async def test_every_version_stays_addressable(catalog: Catalog) -> None:
    assert [catalog.find(COLOUR, version).card.version for version in (1, 2)] == [1, 2]


async def test_an_unknown_model_lists_the_known_ones(catalog: Catalog) -> None:
    with pytest.raises(UnknownModel, match=f"no model 'dogs'; this server has: {COLOUR}, {GREY}"):
        catalog.find("dogs")


async def test_an_unknown_version_lists_the_known_ones(catalog: Catalog) -> None:
    with pytest.raises(UnknownModel, match="no version 9; there is: 1, 2"):
        catalog.find(COLOUR, 9)


async def test_nothing_is_ready_before_it_is_loaded(unloaded: Catalog) -> None:
    assert not unloaded.is_ready
    with pytest.raises(NotReady, match="still being loaded"):
        unloaded.check_ready()
    with pytest.raises(NotReady):
        unloaded.find(COLOUR)


async def test_a_model_whose_folder_cannot_be_read_is_named_and_the_others_serve(
    unloaded: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelStore, "unreadable", lambda _: {"locked": "Permission denied"})
    await unloaded.load()
    assert unloaded.is_alive
    assert not unloaded.is_ready
    with pytest.raises(NotReady, match=r"locked: its folder cannot be read \(Permission denied\)"):
        unloaded.check_ready()
    assert unloaded.find(COLOUR).card.version == 2


async def test_a_version_without_the_file_that_its_engine_does_not_read_is_served(
    unloaded: Catalog, models: Path
) -> None:
    (models / COLOUR / "2" / "model.keras").unlink()
    await unloaded.load()
    assert unloaded.find(COLOUR).card.version == 2


async def test_a_version_that_is_not_loaded_yet_says_so(unloaded: Catalog) -> None:
    unloaded.entries = {COLOUR: {1: Loading()}}
    with pytest.raises(NotReady, match=f"{COLOUR} version 1: still loading"):
        unloaded.find(COLOUR)


async def test_where_the_newest_version_is_broken_the_newest_sound_one_answers(
    unloaded: Catalog, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (models / COLOUR / "2" / "model.onnx").write_bytes(b"not what the card promises")
    await unloaded.load()
    unloaded.check_ready()
    assert unloaded.is_ready
    assert (unloaded.find(COLOUR).card.version, unloaded.find(COLOUR, 1).card.version) == (1, 1)
    assert unloaded.find(GREY).card.version == 1
    with pytest.raises(NotServed, match=r"version 2: The model's files do not match .*version 1 answers under its own"):
        unloaded.find(COLOUR, 2)
    assert f"{COLOUR} version 2 is not served" in caplog.text


async def test_the_broken_version_is_named_where_somebody_may_look(unloaded: Catalog, models: Path) -> None:
    (models / COLOUR / "2" / "model.onnx").write_bytes(b"not what the card promises")
    await unloaded.load()
    reason = "The model's files do not match its card"
    app = create_app()
    serve_catalog(app, unloaded)
    async with client_of(app) as client:
        about = (await client.get(f"/v1/models/{COLOUR}")).json()
        listed = (await client.get("/v1/models")).json()
    assert (about["version"], about["versions"], about["ready"]) == (1, [1, 2], True)
    assert about["broken"] == listed["models"][0]["broken"] == [{"version": 2, "reason": reason}]
    assert listed["ready"]
    assert "broken" not in listed["models"][1]
    assert list(unloaded.broken()) == [(COLOUR, 2, reason)]
    line = f'sightline_broken_info{{model="{COLOUR}",reason="{reason}",version="2"}} 1.0'
    assert line in unloaded.metrics.text().decode()


async def test_a_model_of_which_every_version_is_broken_keeps_the_server_from_being_ready(
    unloaded: Catalog, models: Path
) -> None:
    for version in ("1", "2"):
        (models / COLOUR / version / "model.onnx").write_bytes(b"not what the card promises")
    await unloaded.load()
    with pytest.raises(NotReady, match=f"{COLOUR} version 1: .*; {COLOUR} version 2: "):
        unloaded.check_ready()
    with pytest.raises(NotServed, match=f"{COLOUR} version 2: The model's files do not match its card$"):
        unloaded.find(COLOUR)
    assert isinstance(unloaded.find(GREY), Classifier)


async def test_until_the_newest_version_is_loaded_an_older_one_does_not_take_its_place(unloaded: Catalog) -> None:
    await unloaded.load()
    unloaded.put(COLOUR, 2, Loading())
    with pytest.raises(NotReady, match=f"{COLOUR} version 2: still loading"):
        unloaded.find(COLOUR)


def change_card(models: Path, **changes: object) -> None:
    """Rewrite the card of the newest colour version, its hashes still right."""
    path = models / COLOUR / "2" / "card.json"
    write_card(read_card(path).model_copy(update=changes), path)


async def test_the_reason_is_the_true_one(unloaded: Catalog, models: Path) -> None:
    change_card(models, sample=Sample(label="blue", probabilities=(0.0, 0.0, 1.0)))
    (models / GREY / "1" / "card.json").write_text("{}")
    await unloaded.load()
    reasons = {name: reason for name, _, reason in unloaded.broken()}
    assert reasons == {
        COLOUR: "The model does not answer its sample picture as its card says",
        GREY: "The model's card cannot be read",
    }


async def test_a_batch_that_strays_in_a_precision_nobody_asked_for_is_answered_in_float32(
    models: Path, strays: Strays, caplog: pytest.LogCaptureFixture
) -> None:
    change_card(models, checks=(passed_check("openvino", "bfloat16"),))
    strays.in_batches_by = 0.08
    catalog = Catalog(Settings(models=models, engine="openvino", precision="auto"))
    await catalog.load()
    catalog.check_ready()
    assert catalog.find(COLOUR).card.version == 2
    assert catalog.find(COLOUR).model.engine.precision == "float32"
    assert "off by 0.08" in caplog.text
    assert "runs in float32 instead" in caplog.text
    await catalog.close()


async def test_the_reason_that_clients_see_names_no_path(unloaded: Catalog, models: Path) -> None:
    (models / GREY / "1" / "sample.png").unlink()
    await unloaded.load()
    entry = unloaded.entry(GREY)[1]
    assert isinstance(entry, Broken)
    assert str(models) not in entry.reason


async def test_an_empty_folder_is_never_ready(tmp_path: Path) -> None:
    catalog = Catalog(Settings(models=tmp_path))
    await catalog.load()
    with pytest.raises(NotReady, match="no complete model version"):
        catalog.check_ready()
    with pytest.raises(UnknownModel, match="this server has: none"):
        catalog.find(COLOUR)


async def test_loading_happens_in_the_background(unloaded: Catalog) -> None:
    unloaded.start()
    assert not unloaded.is_ready
    await unloaded.loaded()
    unloaded.check_ready()


async def test_closing_while_loading_stops_it(unloaded: Catalog) -> None:
    unloaded.start()
    await unloaded.close()
    assert not unloaded.is_ready


async def test_a_server_that_cannot_look_its_models_up_is_dead(
    unloaded: Catalog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: ModelStore) -> None:
        raise PermissionError("may not be read")

    monkeypatch.setattr(ModelStore, "versions", refuse)
    unloaded.start()
    with pytest.raises(PermissionError):
        await unloaded.loaded()
    assert not unloaded.is_alive
    with pytest.raises(NotReady, match="could not be looked up"):
        unloaded.check_ready()
    assert "may not be read" in caplog.text


async def test_the_largest_batch_of_each_model_is_measured_when_it_is_loaded(catalog: Catalog) -> None:
    assert {catalog.find(name).max_batch for name in (COLOUR, GREY)} <= set(SIZES)


async def test_a_set_batch_is_kept_and_the_speed_measured_all_the_same(
    models: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def measured(*about: Any) -> Throughput:
        asked.append(about[2])
        return Throughput(2, 1e6)

    opened: list[EngineOptions] = []
    load = LoadedModel.open
    monkeypatch.setattr(LoadedModel, "open", lambda *about: opened.append(about[3]) or load(*about))
    monkeypatch.setattr("classifier.engines.throughput.measure", measured)
    catalog = Catalog(dataclasses.replace(settings, models=models, max_batch=5, streams=2))
    await catalog.load()
    assert [catalog.find(name).max_batch for name in (COLOUR, GREY)] == [5, 5]
    assert set(asked) == {5}
    assert catalog.find(COLOUR).model.engine.one_stream  # as a network is run that is faster than HTTP
    assert {options.warm_batch_sizes for options in opened} == {(1, 2, 4, 5)}
    await catalog.close()


async def test_a_measured_batch_fits_the_queue(
    models: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classifier.engines.throughput.measure", lambda *_: Throughput(32, 100.0))
    catalog = Catalog(dataclasses.replace(settings, models=models, queue_limit=6, max_images=6))
    await catalog.load()
    assert catalog.find(COLOUR).max_batch == 6
    await catalog.close()


async def test_callers_and_metrics_see_what_runs_a_model(catalog: Catalog, client: httpx.AsyncClient) -> None:
    classifier = catalog.find(GREY)
    engine = classifier.model.engine
    about = (await client.get(f"/v1/models/{GREY}")).json()
    running = {name: about[name] for name in ("engine", "precision", "device", "streams", "max_batch")}
    assert running == {
        "engine": "openvino",
        "precision": "float32",
        "device": engine.device,
        "streams": engine.streams,
        "max_batch": classifier.max_batch,
    }
    labels = f'device="{engine.device}",engine="openvino",model="{GREY}",precision="float32",version="1"'
    assert f"sightline_model_info{{{labels}}} 1.0" in catalog.metrics.text().decode()


class Cramped:
    """An engine in place of another, with memory for two images at a time."""

    infers_here = False
    one_stream = False

    def __init__(self, engine: Any) -> None:
        self.name, self.precision, self.device = engine.name, engine.precision, engine.device
        self.streams, self.max_in_flight, self.close = engine.streams, engine.max_in_flight, engine.close
        self.release_memory = engine.release_memory
        self.sizes: list[int] = []
        self._engine = engine

    def submit(self, pixels_u8: Any, *, alone: bool = False) -> Future[Any]:
        self.sizes.append(len(pixels_u8))
        if len(pixels_u8) <= 2:
            running: Future[Any] = self._engine.submit(pixels_u8)
            return running
        future: Future[Any] = Future()
        future.set_exception(OutOfMemory("no memory"))
        return future


async def test_a_model_that_ran_out_of_memory_answers_all_the_same_and_takes_smaller_batches_from_then_on(
    models: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Catalog(dataclasses.replace(settings, models=models, max_batch=8))
    await catalog.load()
    classifier = catalog.find(COLOUR)
    cramped: Any = Cramped(classifier.model.engine)
    classifier.model.engine = cramped
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
    rows = await classifier.classify_pixels(pixels, asyncio.get_running_loop().time() + 10)
    assert cramped.sizes == [8, 4, 2, 2, 4, 2, 2]
    np.testing.assert_allclose(np.stack([image.row for image in rows]).sum(axis=1), 1, atol=1e-5)
    assert catalog.is_ready  # the engine is sound, it is not loaded anew
    assert classifier.max_batch == 2
    assert f"{COLOUR} version 2: at most 2 images a batch from now on" in caplog.text
    assert f'sightline_max_batch_images{{model="{COLOUR}",version="2"}} 2.0' in catalog.metrics.text().decode()
    await catalog.close()


async def test_padded_batches_have_few_sizes_and_the_same_answers(models: Path, settings: Settings) -> None:
    padding = dataclasses.replace(settings, models=models, engine="tensorflow", pad_batches=True, max_batch=6)
    catalog = Catalog(padding)
    await catalog.load()
    classifier = catalog.find(COLOUR)
    engine, sizes = classifier.model.engine, []
    alone = np.stack([classifier.model.classify([classifier.model.sample])[0]] * 5)
    submit = engine.submit
    engine.submit = lambda pixels, **how: sizes.append(len(pixels)) or submit(pixels, **how)  # type: ignore[method-assign,func-returns-value]
    pixels = np.stack([classifier.model.decode(classifier.model.sample)] * 5)
    for images in (1, 3, 5):
        rows = await classifier.classify_pixels(pixels[:images], asyncio.get_running_loop().time() + 10)
        np.testing.assert_allclose(np.stack([image.row for image in rows]), alone[:images], atol=1e-5)
    assert sizes == [1, 4, 6]
    await catalog.close()


async def test_a_server_whose_decoders_do_not_come_back_is_not_ready_and_later_dead(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.check_ready()
    monkeypatch.setattr(DecodePool, "stuck_s", STUCK_S + 1)
    with pytest.raises(NotReady, match="no decoder has been heard of for 21 s"):
        catalog.check_ready()
    assert not catalog.is_ready
    assert catalog.is_alive
    monkeypatch.setattr(DecodePool, "stuck_s", DEAD_S + 1)
    assert not catalog.is_alive


async def test_a_loaded_server_is_alive_however_broken_its_models(unloaded: Catalog, models: Path) -> None:
    (models / GREY / "1" / "card.json").write_text("{}")
    unloaded.start()
    await unloaded.loaded()
    assert unloaded.is_alive
    assert not unloaded.is_ready


async def test_a_network_faster_than_http_is_loaded_to_run_its_batches_in_turn_also_after_a_failure(
    unloaded: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.inference.loading.is_faster_than_http", lambda *_: True)
    await unloaded.load()
    classifier = unloaded.find(COLOUR)
    assert (classifier.model.engine.one_stream, classifier.model.engine.streams) == (True, 1)
    await asyncio.to_thread(classifier.model.close)
    failing: Any = Failing()
    failing.one_stream = True
    classifier.model.engine = failing
    with pytest.raises(BrokenForward):
        await classifier.classify(classifier.model.sample, asyncio.get_running_loop().time() + 10)
    while not unloaded.is_ready:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert unloaded.find(COLOUR).model.engine.one_stream


class Failing:
    """An engine that fails as OpenVINO's do, and goes on failing."""

    name, precision, device, streams, max_in_flight = "openvino", "float32", "a fake", 1, 1
    infers_here = False
    one_stream = False

    def submit(self, pixels_u8: object, *, alone: bool = False) -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(RuntimeError("Exception from src/inference"))
        return future

    def close(self) -> None: ...


async def test_an_engine_that_fails_is_loaded_anew(unloaded: Catalog) -> None:
    await unloaded.load()
    classifier = unloaded.find(COLOUR)
    await asyncio.to_thread(classifier.model.close)
    failing: Any = Failing()
    classifier.model.engine = failing
    deadline = asyncio.get_running_loop().time() + 10
    with pytest.raises(BrokenForward):
        await classifier.classify(classifier.model.sample, deadline)
    assert not unloaded.is_ready
    with pytest.raises(NotReady, match=f"{COLOUR} version 2: its engine failed and is being loaded anew"):
        unloaded.find(COLOUR)
    with pytest.raises(NotReady, match="its engine failed"):
        unloaded.check_ready()
    assert unloaded.find(GREY)
    while not unloaded.is_ready:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    mended = unloaded.find(COLOUR)
    mended.model.check_sample_answer((await mended.classify(mended.model.sample, deadline)).row)


async def test_an_engine_that_cannot_be_loaded_anew_stays_out_and_the_log_says_why(
    unloaded: Catalog, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await unloaded.load()
    monkeypatch.setattr("service.inference.loading.MENDING_PAUSES_S", (0, 0))
    (models / COLOUR / "2" / "model.onnx").write_bytes(b"gone bad meanwhile")
    classifier = unloaded.find(COLOUR)
    classifier.model.close()
    failing: Any = Failing()
    classifier.model.engine = failing
    with pytest.raises(BrokenForward):
        await classifier.classify(classifier.model.sample, asyncio.get_running_loop().time() + 10)
    while "anew" in classifier.reason:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    while not unloaded.is_ready:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert unloaded.find(COLOUR).card.version == 1
    assert list(unloaded.broken()) == [(COLOUR, 2, "its engine failed; the server's log says how")]
    assert "could not be loaded anew" in caplog.text
