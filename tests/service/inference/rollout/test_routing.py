from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from classifier.errors import RolloutFileError, UnknownModel
from classifier.images import Pixels
from classifier.store import ModelStore
from service.errors import NotReady, NotServed
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.inference.rollout.reloading import Reloader
from service.inference.states import Broken
from service.settings import Settings
from tests.service.inference.rollout.conftest import add_version, say, until
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR, GREY, save_tiny_model

pytestmark = pytest.mark.anyio


def settings_of(models: Path) -> Settings:
    return Settings(models=models, engine="openvino", precision="float32")


async def ask(catalog: Catalog, images: int, first: int = 0) -> list[int]:
    """Ask with so many pictures of as many clients, and give the versions that answered."""
    versions = []
    for number in range(first, first + images):
        classifier = catalog.find(COLOUR)
        split = catalog.splits.get(COLOUR)
        if split is not None and split.takes(b"", f"10.0.0.{number}"):
            classifier = split.canary
        await classifier.classify(jpeg(seed=number), asyncio.get_running_loop().time() + 10)
        versions.append(classifier.card.version)
    return versions


def metric(catalog: Catalog, name: str, **labels: str) -> float | None:
    return catalog.metrics.registry.get_sample_value(name, {"model": COLOUR} | labels)


@pytest.mark.slow  # saves a version
async def test_a_shadow_that_knows_what_is_familiar_is_compared_in_that_too(models: Path) -> None:
    save_tiny_model(ModelStore(models), COLOUR, labels=("red", "green", "blue"), seed=3, with_familiarity=True)
    add_version(models)  # the same network, so what it says differs by nothing
    say(models, "stable = 3\nshadow = 4\nshadow_share = 1.0")
    catalog = Catalog(settings_of(models))
    await catalog.load()
    of = {"version": "4", "against": "3"}
    assert set(await ask(catalog, 5)) == {3}
    await until(lambda: metric(catalog, "sightline_shadow_requests_total", **of, result="agreed"))
    assert metric(catalog, "sightline_shadow_familiarity_change", **of) == pytest.approx(0.0, abs=1e-6)
    await catalog.close()


@pytest.mark.parametrize("text", ["stable = ", "stable = 9", "stabel = 1"])
def test_a_wrong_file_stops_the_start(models: Path, text: str) -> None:
    say(models, text)
    with pytest.raises(RolloutFileError):
        Catalog(settings_of(models))


async def test_the_file_says_which_version_answers(models: Path) -> None:
    say(models, "stable = 1\n[tiny-colour.aliases]\nnext = 2")
    catalog = Catalog(settings_of(models))
    await catalog.load()
    assert [catalog.find(COLOUR, which).card.version for which in (None, "stable", "next", 2)] == [1, 1, 2, 2]
    assert catalog.find(GREY, "stable").card.version == 1
    with pytest.raises(UnknownModel, match="model 'tiny-colour' has no alias 'previous'; there is: stable, next"):
        catalog.find(COLOUR, "previous")
    await catalog.close()


async def test_a_stable_version_that_is_broken_at_the_start_is_not_replaced_by_another(models: Path) -> None:
    say(models, "stable = 1")
    (models / COLOUR / "1" / "model.onnx").write_bytes(b"not what the card promises")
    catalog = Catalog(settings_of(models))
    await catalog.load()
    with pytest.raises(NotServed, match=f"{COLOUR} version 1: The model's files do not match its card; version 2 answ"):
        catalog.find(COLOUR)
    with pytest.raises(NotReady, match=f"{COLOUR} version 1"):
        catalog.check_ready()
    await catalog.close()


async def test_a_pin_answers_whatever_else_the_file_says(running: Catalog, reloader: Reloader, models: Path) -> None:
    say(models, "stable = 2\ncanary = 1\ncanary_weight = 1.0")
    await reloader.look()
    assert set(await ask(running, 5)) == {1}
    say(models, "pin = 2\nstable = 2\ncanary = 1\ncanary_weight = 1.0")
    await reloader.look()
    assert set(await ask(running, 5)) == {2}
    assert running.find(COLOUR, "canary").card.version == 1


async def test_canary_and_stable_share_the_requests_that_name_no_version(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    add_version(models)
    say(models, "stable = 2\ncanary = 3\ncanary_weight = 0.5")
    await reloader.look()
    assert COLOUR not in running.splits  # nothing that is not ready gets a request
    assert set(await ask(running, 5)) == {2}
    await until(lambda: COLOUR in running.splits)
    answered = await ask(running, 60)
    assert 10 < answered.count(3) < 50
    assert metric(running, "sightline_traffic_weight", version="3") == 0.5
    assert metric(running, "sightline_alias_info", version="3", alias="canary") == 1


async def test_a_canary_is_not_the_version_that_answers_by_default(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    say(models, "canary = 2")
    await reloader.look()
    assert running.find(COLOUR).card.version == 1


async def test_a_canary_that_disagrees_is_shut_off_and_the_reason_told(
    running: Catalog, reloader: Reloader, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "stable = 1\ncanary = 2\ncanary_weight = 0.5\n[tiny-colour.guard]\nmin_requests = 20\n"
    say(models, canary + "min_agreement = 0.95\ncompare_share = 1.0")
    await reloader.look()
    asked = 0
    while COLOUR in running.splits and asked < 500:
        await ask(running, 10, asked)
        asked += 10
    assert asked < 200
    assert set(await ask(running, 20)) == {1}
    about = running.routing.about(COLOUR, running.entries[COLOUR])
    assert "agreement" in about["canary_shut_off"]
    assert about["weights"] == {"1": 1.0}
    assert about["aliases"] == {"stable": 1, "canary": 2}
    assert "canary version 2 gets no more traffic: agreement" in caplog.text
    assert metric(running, "sightline_canary_shut_off_total", version="2", limit="agreement") == 1
    assert running.find(COLOUR, 1).followers == ()
    await reloader.look()
    assert COLOUR not in running.splits  # the file says the same as before
    say(models, canary + "min_agreement = 0.0\ncompare_share = 1.0")
    await reloader.look()
    assert COLOUR in running.splits
    assert "canary_shut_off" not in running.routing.about(COLOUR, running.entries[COLOUR])


async def test_a_canary_that_fails_is_shut_off(
    running: Catalog, reloader: Reloader, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(
        models,
        "stable = 1\ncanary = 2\ncanary_weight = 1.0\n[tiny-colour.guard]\nmin_requests = 10\ncompare_share = 0.0",
    )
    await reloader.look()
    canary = running.find(COLOUR, 2)

    def failing(pixels_u8: Pixels, **_: object) -> object:
        raise ValueError("it does not work")

    monkeypatch.setattr(canary.model.engine, "submit", failing)
    monkeypatch.setattr(canary.model.engine, "answer", failing)
    monkeypatch.setattr(running.loader, "mend", _never)
    for number in range(60):
        canary.reason = ""  # as if it was mended in vain each time
        try:
            await ask(running, 1, number)
        except Exception:  # noqa: S112 (what it fails with is not the point)
            continue
        if COLOUR not in running.splits:
            break
    assert COLOUR not in running.splits
    assert running.routing.shut_off[COLOUR].reason.startswith("errors: 1.000 of 10 requests")
    assert set(await ask(running, 5)) == {1}


async def _never(_: Classifier) -> bool:
    await asyncio.sleep(60)
    return False


async def test_a_good_canary_is_left_alone(running: Catalog, reloader: Reloader, models: Path) -> None:
    add_version(models)
    say(
        models,
        "stable = 2\ncanary = 3\ncanary_weight = 0.5\n[tiny-colour.guard]\nmin_requests = 20\ncompare_share = 1.0",
    )
    await reloader.look()
    await until(lambda: COLOUR in running.splits)
    await ask(running, 200)
    assert COLOUR in running.splits
    shared = {"version": "3", "against": "2"}
    await until(lambda: metric(running, "sightline_shadow_requests_total", **shared, result="agreed"))
    assert metric(running, "sightline_shadow_requests_total", **shared, result="disagreed") == 0


async def test_a_shadow_is_asked_too_and_answers_nobody(running: Catalog, reloader: Reloader, models: Path) -> None:
    say(models, "stable = 1\nshadow = 2\nshadow_share = 1.0")
    await reloader.look()
    assert set(await ask(running, 60)) == {1}
    of = {"version": "2", "against": "1"}
    await until(
        lambda: (
            sum(
                metric(running, "sightline_shadow_requests_total", **of, result=result) or 0
                for result in ("agreed", "disagreed", "failed", "dropped")
            )
            == 60
        )
    )
    assert (metric(running, "sightline_shadow_requests_total", **of, result="disagreed") or 0) > 0
    compared = sum(
        metric(running, "sightline_shadow_requests_total", **of, result=result) or 0
        for result in ("agreed", "disagreed")
    )
    assert compared == metric(running, "sightline_shadow_seconds_count", **of)
    assert abs(metric(running, "sightline_shadow_probability_change", **of) or 1) < 1
    assert metric(running, "sightline_shadow_familiarity_change", **of) is None  # neither version says
    assert running.find(COLOUR, 2).statistics.success.count == 1  # its sample: shadow requests are not counted
    say(models, "stable = 1")
    await reloader.look()
    assert running.find(COLOUR, 1).followers == ()


async def test_shadow_requests_are_dropped_where_the_version_that_answers_has_more_than_a_batch_waiting(
    running: Catalog, reloader: Reloader, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(models, "stable = 1\nshadow = 2\nshadow_share = 1.0")
    await reloader.look()
    monkeypatch.setattr(Classifier, "waiting", 100)
    await ask(running, 10)
    of = {"version": "2", "against": "1"}
    assert metric(running, "sightline_shadow_requests_total", **of, result="dropped") == 10
    assert metric(running, "sightline_shadow_requests_total", **of, result="agreed") == 0


async def test_a_canary_that_breaks_in_operation_leaves_all_requests_to_the_stable_version(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    say(models, "stable = 1\ncanary = 2\ncanary_weight = 1.0")
    await reloader.look()
    assert set(await ask(running, 3)) == {2}
    canary = running.find(COLOUR, 2)
    running.put(COLOUR, 2, Broken("its engine failed; the server's log says how"))
    assert set(await ask(running, 3)) == {1}
    running.put(COLOUR, 2, canary)
    assert set(await ask(running, 3)) == {2}


async def test_pictures_that_versions_disagree_about_are_kept_where_a_folder_is_set(
    models: Path, tmp_path: Path
) -> None:
    (kept := tmp_path / "kept").mkdir()
    say(models, "stable = 1\nshadow = 2\nshadow_share = 1.0")
    settings = dataclasses.replace(settings_of(models), keep_samples=str(kept), keep_samples_below=0.0)
    catalog = Catalog(settings)
    await catalog.load()
    await ask(catalog, 40)
    await until(lambda: list(kept.rglob("*.jpg")))
    assert {path.parent.parent for path in kept.rglob("*.jpg")} == {kept / COLOUR}
    await catalog.close()
