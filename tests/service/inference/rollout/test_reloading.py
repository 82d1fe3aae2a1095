from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

import pytest

from classifier.card import Sample, read_card, write_card
from service.errors import NotServed
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.inference.rollout import reloading
from service.inference.rollout.reloading import Reloader
from service.inference.states import Broken, Retired, state_of
from service.settings import Settings
from tests.service.inference.rollout.conftest import add_version, say, until
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.anyio


def states(catalog: Catalog, name: str = COLOUR) -> dict[int, str]:
    return {version: state_of(entry) for version, entry in sorted(catalog.entries[name].items())}


async def test_a_new_version_is_loaded_in_the_background_and_answers_then(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    add_version(models)
    await reloader.look()
    assert reloader.loading == [f"{COLOUR}@3"]
    assert running.find(COLOUR).card.version == 2
    running.check_ready()
    await until(lambda: running.find(COLOUR).card.version == 3)
    assert states(running) == {1: "ready", 2: "ready", 3: "ready"}
    assert f'sightline_version_loads_total{{model="{COLOUR}",result="ready",version="3"}} 1.0' in (
        running.metrics.text().decode()
    )


async def test_a_new_model_is_served_too(running: Catalog, reloader: Reloader, models: Path) -> None:
    shutil.copytree(models / GREY, models / "other")
    card = models / "other" / "1" / "card.json"
    write_card(read_card(card).model_copy(update={"name": "other"}), card)
    await reloader.look()
    running.check_ready()
    await until(lambda: "other" in running.entries and states(running, "other") == {1: "ready"})
    assert running.find("other").card.name == "other"


@pytest.mark.parametrize("what", ["hash", "answer", "labels", "card"])
async def test_a_broken_version_is_named_with_its_reason_and_changes_nothing_else(
    running: Catalog, reloader: Reloader, models: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = add_version(models)
    card = read_card(folder / "card.json")
    if what == "hash":
        network = bytearray((folder / "model.onnx").read_bytes())
        network[-1] ^= 1
        (folder / "model.onnx").write_bytes(network)
    elif what == "answer":
        wrong = Sample(label="blue", probabilities=(0.0, 0.0, 1.0))
        write_card(card.model_copy(update={"sample": wrong}), folder / "card.json")
    elif what == "labels":
        more = Sample(label="red", probabilities=(1.0, 0.0, 0.0, 0.0))
        labels = ("red", "green", "blue", "violet")
        write_card(card.model_copy(update={"labels": labels, "sample": more}), folder / "card.json")
    else:
        write_card(card.model_copy(update={"version": 7}), folder / "card.json")
    await reloader.look()
    await until(lambda: isinstance(running.entries[COLOUR].get(3), Broken))
    assert running.find(COLOUR).card.version == 2
    running.check_ready()
    with pytest.raises(NotServed, match=f"{COLOUR} version 3: The "):
        running.find(COLOUR, 3)
    assert f"{COLOUR} version 3 is not served" in caplog.text
    await reloader.look()
    assert reloader.loading == []  # until it changes


async def test_a_version_that_is_being_copied_is_ignored_until_it_is_whole(
    running: Catalog, reloader: Reloader, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "service.inference.rollout.reloading")
    source = models / COLOUR / "2"
    folder = models / COLOUR / "3"
    folder.mkdir()
    write_card(read_card(source / "card.json").model_copy(update={"version": 3}), folder / "card.json")
    for file in ("sample.png", "model.keras", "history.csv"):
        await reloader.look()
        assert 3 not in running.entries[COLOUR]
        shutil.copy(source / file, folder / file)
    assert f"{COLOUR} version 3 is ignored as long as it is incomplete" in caplog.text
    shutil.copy(source / "model.onnx", folder / "model.onnx")
    await reloader.look()
    await until(lambda: running.find(COLOUR).card.version == 3)


async def test_a_version_that_stays_half_copied_is_broken_in_the_end(
    running: Catalog, reloader: Reloader, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "QUIET_S", 0.05)
    folder = add_version(models)
    (folder / "model.onnx").write_bytes(b"half")
    await reloader.look()
    assert 3 not in running.entries[COLOUR]
    await until(lambda: isinstance(running.entries[COLOUR].get(3), Broken))
    assert running.find(COLOUR).card.version == 2


async def test_a_broken_version_that_is_mended_on_disk_is_taken_up(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    folder = add_version(models)
    good = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(good[:-1] + b"?")
    await reloader.look()
    await until(lambda: isinstance(running.entries[COLOUR].get(3), Broken))
    (folder / "model.onnx").write_bytes(good)
    await reloader.look()
    await until(lambda: running.find(COLOUR).card.version == 3)


async def test_a_card_of_which_only_the_words_change_is_not_loaded_again(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    before = running.find(COLOUR, 2)
    card = models / COLOUR / "2" / "card.json"
    write_card(read_card(card).model_copy(update={"recipe": "another word for it"}), card)
    await reloader.look()
    await until(lambda: not reloader.loading)
    assert running.find(COLOUR, 2) is before


async def test_files_that_change_under_a_version_that_answers_are_loaded_beside_it(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    before = running.find(COLOUR, 2)
    for file in ("model.onnx", "sample.png", "history.csv", "model.keras", "card.json"):
        shutil.copy(models / COLOUR / "1" / file, models / COLOUR / "2" / file)
    card = models / COLOUR / "2" / "card.json"
    write_card(read_card(card).model_copy(update={"version": 2}), card)
    await reloader.look()
    await until(lambda: running.find(COLOUR) is not before and not reloader.loading)
    assert running.find(COLOUR, 2).card.files == read_card(card).files
    await until(lambda: before.is_closed)


async def test_an_alias_switches_at_once_and_back(running: Catalog, reloader: Reloader, models: Path) -> None:
    assert running.find(COLOUR, "stable").card.version == 2
    for version in (1, 2, 1):
        say(models, f"stable = {version}")
        await reloader.look()
        assert running.find(COLOUR).card.version == running.find(COLOUR, "stable").card.version == version


async def test_a_wrong_file_changes_nothing_and_is_told(
    running: Catalog, reloader: Reloader, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    say(models, "stable = 1")
    await reloader.look()
    for wrong in ("stable = ", "stable = 9", "stabel = 2"):
        say(models, wrong)
        await reloader.look()
        assert running.find(COLOUR).card.version == 1
        assert "sightline_rollout_file_wrong 1.0" in running.metrics.text().decode()
    assert caplog.text.count("the roll-out file is not followed") == 3
    say(models, "stable = 2")
    await reloader.look()
    assert running.find(COLOUR).card.version == 2
    assert "sightline_rollout_file_wrong 0.0" in running.metrics.text().decode()


async def test_a_stable_version_that_is_not_ready_takes_over_once_it_is(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    add_version(models)
    say(models, "stable = 3\naliases.previous = 2")
    await reloader.look()
    assert running.find(COLOUR).card.version == 2
    await until(lambda: running.find(COLOUR).card.version == 3)
    assert running.find(COLOUR, "previous").card.version == 2


async def test_what_the_file_does_not_keep_is_unloaded_and_loaded_again_when_it_is_named(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    old = running.find(COLOUR, 1)
    say(models, "stable = 2\nkeep = 1")
    await reloader.look()
    assert states(running) == {1: "retired", 2: "ready"}
    await until(lambda: old.is_closed)
    with pytest.raises(NotServed, match="not loaded, for the roll-out file keeps other versions; version 2 answers"):
        running.find(COLOUR, 1)
    running.check_ready()
    say(models, "stable = 1\nkeep = 2")
    await reloader.look()
    assert running.find(COLOUR).card.version == 2
    await until(lambda: running.find(COLOUR).card.version == 1)
    assert states(running) == {1: "ready", 2: "ready"}


async def test_the_version_that_answered_last_stays_loaded_for_a_rollback(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    say(models, "stable = 1\nkeep = 2")
    await reloader.look()
    add_version(models)
    say(models, "stable = 2\nkeep = 2")
    await reloader.look()
    await until(lambda: not reloader.loading)
    assert states(running) == {1: "ready", 2: "ready", 3: "retired"}


async def test_a_version_whose_folder_is_removed_answers_no_more(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    gone = running.find(COLOUR, 2)
    shutil.rmtree(models / COLOUR / "2")
    await reloader.look()
    assert running.find(COLOUR).card.version == 1
    assert states(running) == {1: "ready"}
    await until(lambda: gone.is_closed)


async def test_a_folder_that_is_away_for_a_moment_ends_nothing(
    running: Catalog, reloader: Reloader, models: Path, tmp_path: Path
) -> None:
    shutil.move(models, tmp_path / "away")
    os.mkdir(models)  # noqa: PTH102 (quick)
    await reloader.look()
    assert running.find(COLOUR).card.version == 2
    assert running.find(GREY).card.version == 1
    running.check_ready()
    shutil.rmtree(models)
    shutil.move(tmp_path / "away", models)
    await reloader.look()
    await until(lambda: not reloader.loading)
    assert running.find(COLOUR).card.version == 2


async def test_who_has_chosen_a_version_is_answered_by_it_before_it_is_unloaded(
    running: Catalog, reloader: Reloader, models: Path
) -> None:
    chosen = running.find(COLOUR, 1)
    chosen.users += 1  # as a request does whose body is still coming
    say(models, "stable = 2\nkeep = 1")
    await reloader.look()
    await asyncio.sleep(0.1)
    assert not chosen.is_closed
    await chosen.classify(jpeg(), asyncio.get_running_loop().time() + 10)
    chosen.users -= 1
    await until(lambda: chosen.is_closed)


async def test_memory_is_given_back_once_a_version_is_unloaded(running: Catalog, models: Path) -> None:
    freed: list[bool] = []
    reloader = Reloader(running, lambda: freed.append(True))
    await reloader.start("admin")
    say(models, "stable = 2\nkeep = 1")
    await reloader.look()
    await until(lambda: freed)
    await reloader.close()


@pytest.mark.parametrize("how", ["watch", "poll"])
async def test_changes_are_noticed_without_being_asked(running: Catalog, models: Path, how: str) -> None:
    reloader = Reloader(running)
    await reloader.start(how)  # type: ignore[arg-type]
    say(models, "stable = 1")
    await until(lambda: running.find(COLOUR).card.version == 1)
    await reloader.close()


async def test_a_version_that_came_while_the_others_were_loaded_is_not_missed(running: Catalog, models: Path) -> None:
    add_version(models)
    reloader = Reloader(running)
    await reloader.start("admin")
    await until(lambda: running.find(COLOUR).card.version == 3)
    await reloader.close()


async def test_at_the_start_only_what_the_file_keeps_is_loaded(models: Path) -> None:
    say(models, "keep = 1")
    catalog = Catalog(Settings(models=models, engine="openvino", precision="float32"))
    await catalog.load()
    catalog.check_ready()
    assert catalog.find(COLOUR).card.version == 2
    assert isinstance(catalog.entries[COLOUR][1], Retired)
    await catalog.close()


async def test_at_the_start_an_older_version_answers_where_the_only_one_kept_is_broken(models: Path) -> None:
    say(models, "keep = 1")
    (models / COLOUR / "2" / "model.onnx").write_bytes(b"not what the card promises")
    catalog = Catalog(Settings(models=models, engine="openvino", precision="float32"))
    await catalog.load()
    catalog.check_ready()
    assert isinstance(catalog.find(COLOUR), Classifier)
    assert catalog.find(COLOUR).card.version == 1
    await catalog.close()
