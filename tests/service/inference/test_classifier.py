from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from classifier.engines import Answers, Engine
from classifier.engines.throughput import Throughput
from classifier.errors import ImageTooLarge, NotAnImage, TooSlowToDecode, UndecodableImage
from classifier.images import OpenedImage, from_array
from classifier.loaded_model import LoadedModel
from service.errors import BrokenForward, Closing, QueueFull
from service.inference.batching import BatchScheduler
from service.inference.classifier import AHEAD, Classifier, is_faster_than_http
from service.inference.decode_pool import BESIDE_OTHERS_PIXELS, DecodePool
from service.inference.timing import Classified
from service.settings import Settings
from tests.pictures import encoded, noise
from tests.service.engines import HeldEngine
from tests.service.pictures import TEXT, jpeg, of_one_colour, slow_to_decode, truncated

pytestmark = pytest.mark.anyio


class CountingPool(DecodePool):
    jobs = apart = 0

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.jobs += 1
        return super().run(*args, **kwargs)

    def run_apart(self, *args: Any) -> Any:
        self.apart += 1
        return super().run_apart(*args)


@pytest.fixture
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
def pool() -> Iterator[CountingPool]:
    with closing(CountingPool(2)) as threads:
        yield threads


@pytest.fixture
def held(offline: LoadedModel, engine: HeldEngine, pool: CountingPool, settings: Settings) -> Classifier:
    """A classifier of the colour model with a fake in place of its engine, and room for four images."""
    model = LoadedModel(offline.card, engine, offline.sample)  # type: ignore[arg-type]
    small = dataclasses.replace(settings, queue_limit=4, max_batch=2, max_images=4)
    return Classifier(model, BatchScheduler(1), pool, small)


@pytest.fixture
def classifier(offline: LoadedModel, pool: CountingPool, settings: Settings) -> Classifier:
    return Classifier(offline, BatchScheduler(2), pool, settings)


def soon() -> float:
    return asyncio.get_running_loop().time() + 5


@pytest.mark.parametrize(("width", "height"), [(8, 8), (40, 30), (640, 480)])
async def test_an_image_gets_the_probabilities_of_the_model_itself(
    classifier: Classifier, offline: LoadedModel, width: int, height: int
) -> None:
    body = jpeg(width, height)
    image = await classifier.classify(body, soon())
    np.testing.assert_allclose(image.row, offline.classify([body])[0], atol=1e-5)


async def test_images_sent_together_get_their_own_probabilities(classifier: Classifier, offline: LoadedModel) -> None:
    bodies = [jpeg(20 + seed, 30, seed) for seed in range(20)]
    images = await asyncio.gather(*(classifier.classify(body, soon()) for body in bodies))
    np.testing.assert_allclose(np.stack([image.row for image in images]), offline.classify(bodies), atol=1e-5)


async def test_a_bad_image_fails_before_it_can_enter_a_batch(held: Classifier, engine: HeldEngine) -> None:
    with pytest.raises(NotAnImage):
        await held.classify(TEXT, soon())
    assert engine.batches.empty()


async def test_each_image_of_several_is_judged_on_its_own(classifier: Classifier, offline: LoadedModel) -> None:
    good, broken = jpeg(seed=1), truncated(jpeg(300, 200))
    image, *rest = await classifier.classify_each([good, TEXT, broken], soon())
    assert isinstance(image, Classified)
    np.testing.assert_allclose(image.row, offline.classify([good])[0], atol=1e-5)
    assert [type(error) for error in rest] == [NotAnImage, UndecodableImage]


async def test_a_thumbnail_is_decoded_on_the_loop(classifier: Classifier, pool: CountingPool) -> None:
    await classifier.classify(jpeg(), soon())
    assert pool.jobs == 0


@pytest.mark.parametrize("body", [jpeg(900, 700), of_one_colour(600, 600)], ids=["many bytes", "many pixels"])
async def test_a_large_picture_is_decoded_in_a_thread(classifier: Classifier, pool: CountingPool, body: bytes) -> None:
    await classifier.classify(body, soon())
    assert pool.jobs == 1


@pytest.mark.slow
async def test_pictures_that_hold_much_memory_are_decoded_one_at_a_time_and_nobody_else_waits_for_them(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most, photo_answered = [0], [0], threading.Event()
    decode_apart = OpenedImage.decode_apart

    def counted(opened: OpenedImage, *rest: Any) -> Any:
        assert opened.held_pixels > BESIDE_OTHERS_PIXELS
        at_once[0] += 1
        most.append(at_once[0])
        photo_answered.wait(10)
        try:
            return decode_apart(opened, *rest)
        finally:
            at_once[0] -= 1

    monkeypatch.setattr(OpenedImage, "decode_apart", counted)
    later = soon() + 50  # the machine may be busy
    large = [asyncio.create_task(classifier.classify(slow_to_decode(), later)) for _ in range(4)]
    await asyncio.sleep(0.03)
    await classifier.classify(jpeg(900, 700), soon())
    assert not any(task.done() for task in large)
    photo_answered.set()
    rows = [answer.row for answer in await asyncio.gather(*large)]
    np.testing.assert_allclose(rows, [classifier.model.classify([slow_to_decode()])[0]] * 4, atol=1e-5)
    assert max(most) == 1


@pytest.mark.parametrize("name", ["WEBP", "GIF", "BMP", "TIFF", "AVIF"])
async def test_what_is_not_plain_is_decoded_in_another_process_however_small_it_is(
    classifier: Classifier, pool: CountingPool, name: str
) -> None:
    body = encoded(noise(20, 20), name)
    classified = await classifier.classify_soon(body, soon() + 20)
    np.testing.assert_allclose(classified.row, classifier.model.classify([body])[0], atol=1e-5)
    assert (pool.jobs, pool.apart) == (0, 1)


async def test_a_progressive_photo_is_decoded_in_a_thread_as_any_other(
    classifier: Classifier, pool: CountingPool
) -> None:
    await classifier.classify(encoded(noise(300, 400), "JPEG", progressive=True), soon())
    assert (pool.jobs, pool.apart) == (1, 0)


async def test_photos_do_not_wait_for_pictures_that_are_not_plain(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_answered = threading.Event()
    pixels = from_array(noise(), classifier.card.input)
    monkeypatch.setattr(OpenedImage, "decode_apart", lambda *_: photo_answered.wait(10) and pixels)
    body = encoded(noise(20, 20), "GIF")
    others = [asyncio.create_task(classifier.classify(body, soon() + 50)) for _ in range(200)]
    await asyncio.sleep(0.03)
    await classifier.classify(jpeg(900, 700), soon())
    assert not any(task.done() for task in others)
    photo_answered.set()
    await asyncio.gather(*others)


async def test_a_picture_that_does_not_end_is_the_callers_fault_and_ends_at_its_deadline(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []

    def decode_apart(_: OpenedImage, processes: object, timeout_s: float) -> Any:
        left.append(timeout_s)
        raise TooSlowToDecode("it takes too long")

    monkeypatch.setattr(OpenedImage, "decode_apart", decode_apart)
    with pytest.raises(TooSlowToDecode):
        await classifier.classify(encoded(noise(20, 20), "GIF"), soon())
    assert 0 < left[0] <= 5


async def test_a_photo_from_a_phone_is_not_large(classifier: Classifier, pool: CountingPool) -> None:
    await classifier.classify(of_one_colour(5_000, 5_000), soon())
    assert (pool.jobs, pool.apart) == (1, 0)
    await classifier.classify(of_one_colour(5_100, 5_000), soon())
    assert (pool.jobs, pool.apart) == (2, 1)


async def test_the_decision_on_a_large_picture_is_explained_too(classifier: Classifier, pool: CountingPool) -> None:
    await classifier.explain(slow_to_decode(), None, soon())
    assert pool.apart == 1


async def test_more_pixels_than_allowed_are_refused(offline: LoadedModel, settings: Settings) -> None:
    few = dataclasses.replace(settings, max_pixels=1_000)
    with closing(DecodePool(1)) as threads, pytest.raises(ImageTooLarge, match="1,000 pixels"):
        await Classifier(offline, BatchScheduler(1), threads, few).classify(jpeg(40, 30), soon())


async def test_a_full_queue_refuses_before_anything_is_decoded(held: Classifier, engine: HeldEngine) -> None:
    work = []
    for images in (2, 4):  # two run, and four wait
        work += [asyncio.create_task(held.classify(jpeg(), soon())) for _ in range(images)]
        await asyncio.sleep(0.01)
    with pytest.raises(QueueFull):
        await held.classify(TEXT, soon())  # a decoder would have said that this is no image
    for _ in range(3):
        await engine.give(0.2, 0.3, 0.5)
    assert len(await asyncio.gather(*work)) == 6


async def test_of_many_pictures_only_those_that_will_soon_run_are_decoded(
    offline: LoadedModel, engine: HeldEngine, pool: CountingPool, settings: Settings
) -> None:
    model = LoadedModel(offline.card, engine, offline.sample)  # type: ignore[arg-type]
    classifier = Classifier(model, BatchScheduler(1), pool, dataclasses.replace(settings, max_batch=2))
    work = [asyncio.create_task(classifier.classify(jpeg(600, 400), soon())) for _ in range(20)]
    await asyncio.sleep(0.2)
    at_first = pool.jobs
    while not all(task.done() for task in work):  # how many travel together is left to chance
        await engine.give(0.2, 0.3, 0.5)
        await asyncio.sleep(0.01)
    assert (at_first, pool.jobs) == ((AHEAD + 1) * 2, 20)


async def test_images_that_are_still_being_decoded_count_against_the_queue(held: Classifier) -> None:
    work = [asyncio.create_task(held.classify(jpeg(600, 400), soon())) for _ in range(5)]
    first, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
    assert [type(task.exception()) for task in first] == [QueueFull]
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)


async def test_a_batch_request_has_room_for_all_its_images_or_is_refused(held: Classifier) -> None:
    with pytest.raises(QueueFull, match="no room for 5 more"):
        await held.classify_each([jpeg()] * 5, soon())


async def test_callers_who_leave_give_their_room_back(held: Classifier, engine: HeldEngine) -> None:
    for _ in range(3):
        work = asyncio.create_task(held.classify_each([jpeg(600, 400)] * 4, soon()))
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    work = asyncio.create_task(held.classify_each([jpeg()] * 4, soon()))
    for _ in range(2):
        await engine.give(0.2, 0.3, 0.5)
    assert len(await work) == 4


async def test_a_batch_has_all_processors_unless_others_wait(held: Classifier, engine: HeldEngine) -> None:
    work = []
    for images in (1, 3):  # the first runs before the others come, and these do not fit into one batch
        work += [asyncio.create_task(held.classify(jpeg(), soon())) for _ in range(images)]
        await asyncio.sleep(0.01)
    for _ in range(3):
        await engine.give(0.2, 0.3, 0.5)
    await asyncio.gather(*work)
    assert engine.alone == [True, False, True]


async def test_a_batch_is_not_alone_beside_one_of_another_model(
    offline: LoadedModel, pool: CountingPool, settings: Settings
) -> None:
    scheduler, engines = BatchScheduler(2), (HeldEngine(), HeldEngine())
    models = [LoadedModel(offline.card, engine, offline.sample) for engine in engines]  # type: ignore[arg-type]
    work = [asyncio.create_task(Classifier(m, scheduler, pool, settings).classify(jpeg(), soon())) for m in models]
    for engine in engines:
        await engine.give(0.2, 0.3, 0.5)
    await asyncio.gather(*work)
    assert [engine.alone for engine in engines] == [[False], [False]]


async def test_an_explanation_beside_a_fast_networks_batch_does_not_wait_for_its_turn(
    offline: LoadedModel, pool: CountingPool, settings: Settings, engine: HeldEngine
) -> None:
    model = LoadedModel(offline.card, engine, offline.sample)  # type: ignore[arg-type]
    classifier = Classifier(model, BatchScheduler(2), pool, settings, throughput=Throughput(2, 50_000))
    work = [asyncio.create_task(classifier.explain(jpeg(), None, soon()))]
    await asyncio.sleep(0.05)
    work.append(asyncio.create_task(classifier.classify(jpeg(), soon())))
    await asyncio.sleep(0.05)
    assert engine.alone == [False, False]
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    for _ in range(2):
        await engine.give(0.2, 0.3, 0.5)
    await classifier.close()


@pytest.fixture
def one_stream(engine: HeldEngine) -> HeldEngine:
    engine.max_in_flight, engine.one_stream = 2, True
    return engine


async def test_where_batches_run_in_turn_only_a_full_one_is_brought_while_another_runs(
    offline: LoadedModel, pool: CountingPool, settings: Settings, one_stream: HeldEngine
) -> None:
    model = LoadedModel(offline.card, one_stream, offline.sample)  # type: ignore[arg-type]
    classifier = Classifier(model, BatchScheduler(2), pool, settings, throughput=Throughput(4, 50_000))
    work = [asyncio.create_task(classifier.classify(jpeg(), soon()))]
    await asyncio.sleep(0.01)
    work += [asyncio.create_task(classifier.classify(jpeg(), soon())) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert one_stream.batches.qsize() == 1
    work += [asyncio.create_task(classifier.classify(jpeg(), soon())) for _ in range(2)]
    await asyncio.sleep(0.01)
    sizes = []
    while not all(task.done() for task in work):
        pixels, running = await one_stream.batches.get()
        sizes.append(len(pixels))
        running.set_result(Answers(np.array([[0.2, 0.3, 0.5]] * len(pixels), np.float32)))
        await asyncio.sleep(0.01)
    assert sizes == [1, 4, 1]
    assert not any(one_stream.alone)
    await classifier.close()


class PromptEngine(HeldEngine):
    """One that also runs batches in the thread that asks, at once; black images fail there."""

    infers_here = True

    def __init__(self) -> None:
        super().__init__()
        self.ran_here: list[int] = []

    def answer(self, pixels_u8: Any) -> Any:
        self.ran_here.append(len(pixels_u8))
        if not pixels_u8.any():
            raise RuntimeError("out of luck")
        return Answers(np.array([[0.2, 0.3, 0.5]] * len(pixels_u8), np.float32))


async def test_an_image_alone_of_less_than_a_millisecond_runs_on_the_loop(
    offline: LoadedModel, pool: CountingPool, settings: Settings
) -> None:
    engine, beside, slow = PromptEngine(), HeldEngine(), PromptEngine()
    scheduler = BatchScheduler(2)
    fast, other, slower = (
        Classifier(
            LoadedModel(offline.card, each, offline.sample),  # type: ignore[arg-type]
            scheduler,
            pool,
            settings,
            throughput=Throughput(4, per_s),
        )
        for each, per_s in ((engine, 3_000), (beside, 3_000), (slow, 999))
    )
    image = await fast.classify(jpeg(), soon())
    assert image.row.tolist() == pytest.approx([0.2, 0.3, 0.5])
    assert (engine.ran_here, engine.alone) == ([1], [])
    for model, its, count in ((fast, engine, 2), (slower, slow, 1)):  # two are better off in a thread, as is a slow one
        work = [asyncio.create_task(model.classify(jpeg(), soon())) for _ in range(count)]
        await its.give(0.2, 0.3, 0.5)
        await asyncio.gather(*work)
    assert (engine.ran_here, engine.alone, slow.ran_here, slow.alone) == ([1], [True], [], [True])
    work = [asyncio.create_task(model.classify(jpeg(), soon())) for model in (other, fast)]
    for held in (beside, engine):
        await held.give(0.2, 0.3, 0.5)
    await asyncio.gather(*work)
    assert (engine.ran_here, engine.alone, beside.alone) == ([1], [True, False], [False])


async def test_a_batch_that_fails_on_the_loop_is_run_again_image_by_image(
    offline: LoadedModel, pool: CountingPool, settings: Settings
) -> None:
    engine, mended = PromptEngine(), []
    model = LoadedModel(offline.card, engine, offline.sample)  # type: ignore[arg-type]
    classifier = Classifier(model, BatchScheduler(1), pool, settings, mended.append, Throughput(4, 3_000))
    with pytest.raises(BrokenForward):
        await classifier.classify(of_one_colour(30, 20, "black"), soon())
    assert (engine.ran_here, mended) == ([1], [classifier])
    assert (await classifier.classify(jpeg(), soon())).row.tolist() == pytest.approx([0.2, 0.3, 0.5])


async def test_an_answer_that_is_no_number_is_the_servers_fault(held: Classifier, engine: HeldEngine) -> None:
    work = asyncio.create_task(held.classify(jpeg(), soon()))
    await engine.give(0.5, float("nan"), 0.5)
    with pytest.raises(BrokenForward, match="NaN or infinity"):
        await work


async def test_an_image_comes_with_its_familiarity_where_the_version_has_one(
    held: Classifier, engine: HeldEngine
) -> None:
    for familiarity in (0.25, None):
        work = asyncio.create_task(held.classify(jpeg(), soon()))
        await engine.give(0.2, 0.3, 0.5, familiarity=familiarity)
        assert (await work).familiarity == familiarity
    work = asyncio.create_task(held.classify(jpeg(), soon()))
    await engine.give(0.2, 0.3, 0.5, familiarity=float("nan"))
    with pytest.raises(BrokenForward, match="NaN or infinity"):
        await work


async def test_an_engine_that_fails_says_nothing_of_it_to_the_client(held: Classifier, engine: HeldEngine) -> None:
    work = asyncio.create_task(held.classify(jpeg(), soon()))
    (await engine.batches.get())[1].set_exception(RuntimeError("/opt/secret.so"))
    with pytest.raises(BrokenForward) as failed:
        await work
    assert "secret" not in str(failed.value)


class FragileEngine:
    """A real engine that fails on every batch with a black image in it."""

    name, precision, device, streams, max_in_flight = "openvino", "float32", "a fake", 1, 1
    infers_here = False
    one_stream = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def submit(self, pixels_u8: Any, *, alone: bool = False) -> Future[Any]:
        if pixels_u8.reshape(len(pixels_u8), -1).max(axis=1).all():
            return self._engine.submit(pixels_u8)
        future: Future[Any] = Future()
        future.set_exception(RuntimeError("out of luck"))
        return future


async def test_an_image_on_which_the_engine_fails_fails_alone_among_32(
    offline: LoadedModel, pool: CountingPool, settings: Settings
) -> None:
    model = LoadedModel(offline.card, FragileEngine(offline.engine), offline.sample)  # type: ignore[arg-type]
    classifier = Classifier(model, BatchScheduler(1), pool, settings)
    good = [jpeg(seed=seed) for seed in range(31)]
    images = await classifier.classify_each([*good[:20], of_one_colour(30, 20, "black"), *good[20:]], soon())
    assert isinstance(images.pop(20), BrokenForward)
    rows = [image.row for image in images if isinstance(image, Classified)]
    np.testing.assert_allclose(rows, offline.classify(good), atol=1e-5)


async def test_close_answers_those_who_wait(held: Classifier, engine: HeldEngine) -> None:
    running, _, queued = [asyncio.create_task(held.classify(jpeg(), soon())) for _ in range(3)]
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(held.close())
    with pytest.raises(Closing):
        await queued
    await engine.give(0.2, 0.3, 0.5)
    assert (await running).row.tolist() == pytest.approx([0.2, 0.3, 0.5])
    await closing


async def test_the_time_of_each_step_comes_with_the_row(held: Classifier, engine: HeldEngine) -> None:
    work = asyncio.create_task(held.classify(jpeg(600, 400), soon()))
    batch = await engine.batches.get()
    await asyncio.sleep(0.02)
    batch[1].set_result(Answers(np.array([[0.2, 0.3, 0.5]], np.float32)))
    image = await work
    assert image.infer_ns >= 15_000_000  # the loop counts whole milliseconds
    assert image.decode_ns > 0
    assert image.queue_ns > 0


@pytest.mark.parametrize(
    ("engine_name", "streams", "images_per_s", "is_faster"),
    [
        ("openvino", 2, 9_000.0, False),
        ("openvino", 2, 11_000.0, True),
        ("openvino", 8, 39_000.0, False),
        ("openvino", 1, 11_000.0, False),  # there is no processor to leave to anybody
        ("openvino", 2, 0.0, False),
        ("tensorflow", 2, 1e6, False),
        ("jax", 2, 1e6, False),
    ],
)
def test_a_network_is_faster_than_http_where_one_of_its_streams_is(
    engine_name: str, streams: int, images_per_s: float, is_faster: bool
) -> None:
    engine: Any = HeldEngine()
    engine.name, engine.streams = engine_name, streams
    assert is_faster_than_http(engine, Throughput(8, images_per_s)) is is_faster


async def test_images_worth_less_than_a_stream_wait_for_the_batch_that_runs(
    offline: LoadedModel, pool: CountingPool, engine: HeldEngine
) -> None:
    engine.streams = engine.max_in_flight = 2
    model = LoadedModel(offline.card, engine, offline.sample)  # type: ignore[arg-type]
    # 3 images take 1.5 ms, and come in fours.
    classifier = Classifier(model, BatchScheduler(2), pool, Settings(), throughput=Throughput(8, 4_000))
    work = [asyncio.create_task(classifier.classify(jpeg(), soon()))]
    await asyncio.sleep(0.01)
    work += [asyncio.create_task(classifier.classify(jpeg(), soon())) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert len(engine.alone) == 1
    work.append(asyncio.create_task(classifier.classify(jpeg(), soon())))
    await asyncio.sleep(0.01)
    assert len(engine.alone) == 2
    for _ in range(2):
        await engine.give(0.2, 0.3, 0.5)
    await asyncio.gather(*work)
    await classifier.close()


async def test_pictures_that_wait_for_a_decode_process_take_no_room_from_others(
    held: Classifier, pool: CountingPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[asyncio.Future[Any]] = []

    def wait(*_: Any) -> asyncio.Future[Any]:
        waiting.append(asyncio.get_running_loop().create_future())
        return waiting[-1]

    monkeypatch.setattr(pool, "run_apart", wait)
    callers = []
    for number in range(6):  # where four may wait for the network
        callers.append(asyncio.create_task(held.classify(encoded(noise(), "GIF"), soon())))
        while len(waiting) == number:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert held.waiting == 6
    rows = [held.classify_soon(jpeg(), soon()) for _ in range(4)]
    with pytest.raises(QueueFull):
        held.classify_soon(jpeg(), soon())
    for one in (*callers, *rows):
        one.cancel()
    await asyncio.gather(*callers, *rows, return_exceptions=True)
    assert held.waiting == 0
