"""Which version answers over HTTP, and how a caller learns it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from service.api.auth import Access
from service.api.middleware import RequestMiddleware
from service.api.routes import create_app, serve_catalog
from service.errors import SettingsError, Unauthorized
from service.inference.catalog import Catalog
from service.inference.rollout.reloading import Reloader
from service.settings import Settings
from tests.service.api.test_middleware import traffic_of
from tests.service.conftest import client_of
from tests.service.inference.rollout.conftest import models, running, say  # noqa: F401 (fixtures)
from tests.service.pictures import TEXT, jpeg
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.anyio

AT = f"/v1/models/{COLOUR}"
IMAGE = {"Content-Type": "image/jpeg"}


@pytest.fixture
async def rolled_out(running: Catalog, models: Path) -> AsyncIterator[Catalog]:  # noqa: F811
    say(models, f"stable = 1\ncanary = 2\n[{COLOUR}.aliases]\nnext = 2")
    reloader = Reloader(running)
    await reloader.start("admin")
    yield running
    await reloader.close()


@pytest.fixture
async def asker(rolled_out: Catalog) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app()
    serve_catalog(app, rolled_out)
    async with client_of(app) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "version"),
    [("", 1), ("/versions/2", 2), ("/aliases/stable", 1), ("/aliases/canary", 2), ("/aliases/next", 2)],
)
async def test_a_version_is_chosen_by_number_by_alias_or_not_at_all(
    asker: httpx.AsyncClient, path: str, version: int
) -> None:
    for route in ("predict", "explain"):
        answer = await asker.post(f"{AT}{path}/{route}", content=jpeg(), headers=IMAGE)
        assert (answer.status_code, answer.json()["version"]) == (200, version)
        assert answer.headers["x-model-version"] == str(version)
    batch = await asker.post(f"{AT}{path}/predict-batch", files=[("images", jpeg())])
    assert (batch.json()["version"], batch.headers["x-model-version"]) == (version, str(version))
    assert (await asker.get(f"{AT}{path}")).json()["version"] == version


@pytest.mark.parametrize(("which", "version"), [("", 1), ("/versions/2", 2), ("/versions/next", 2)])
async def test_the_open_inference_protocol_takes_an_alias_for_a_version(
    asker: httpx.AsyncClient, which: str, version: int
) -> None:
    headers = {"Inference-Header-Content-Length": "0"}
    answer = await asker.post(f"/v2/models/{COLOUR}{which}/infer", content=jpeg(), headers=headers)
    assert (answer.status_code, answer.headers["x-model-version"]) == (200, str(version))
    assert (await asker.get(f"/v2/models/{COLOUR}{which}/ready")).json() == {"name": COLOUR, "ready": True}


async def test_an_alias_that_is_not_there_is_named_with_those_that_are(asker: httpx.AsyncClient) -> None:
    answer = await asker.post(f"{AT}/aliases/last/predict", content=jpeg(), headers=IMAGE)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-model")
    assert "has no alias 'last'; there is: stable, canary, next" in answer.json()["detail"]
    assert "x-model-version" not in answer.headers
    v2 = await asker.get(f"/v2/models/{COLOUR}/versions/last")
    assert (v2.status_code, list(v2.json())) == (404, ["error"])


async def test_a_version_of_v1_is_a_number(asker: httpx.AsyncClient) -> None:
    assert (await asker.get(f"{AT}/versions/stable")).status_code == 400


async def test_an_error_of_a_version_says_which_one_it_was(asker: httpx.AsyncClient) -> None:
    answer = await asker.post(f"{AT}/aliases/next/predict", content=TEXT, headers=IMAGE)
    assert (answer.status_code, answer.headers["x-model-version"]) == (415, "2")


async def test_a_model_lists_its_versions_aliases_and_weights(asker: httpx.AsyncClient, rolled_out: Catalog) -> None:
    about = (await asker.get(AT)).json()
    assert about["states"] == [{"version": 1, "state": "ready"}, {"version": 2, "state": "ready"}]
    assert about["aliases"] == {"stable": 1, "canary": 2, "next": 2}
    assert about["weights"] == {"1": 1.0}
    other = (await asker.get(f"/v1/models/{GREY}")).json()
    assert (other["aliases"], other["weights"]) == ({"stable": 1}, {"1": 1.0})


async def test_callers_with_one_key_stay_with_one_version(running: Catalog, models: Path) -> None:  # noqa: F811
    say(models, "stable = 1\ncanary = 2\ncanary_weight = 0.5")
    reloader = Reloader(running)
    await reloader.start("admin")
    app = create_app()
    serve_catalog(app, running)
    async with client_of(app) as client:
        by_key = {}
        for number in range(40):
            for _ in range(2):
                headers = IMAGE | {"X-Sightline-Key": f"user-{number}"}
                answer = await client.post(f"{AT}/predict", content=jpeg(), headers=headers)
                by_key.setdefault(number, set()).add(answer.json()["version"])
    await reloader.close()
    assert {len(versions) for versions in by_key.values()} == {1}
    assert {version for versions in by_key.values() for version in versions} == {1, 2}


async def test_behind_a_trusted_proxy_each_caller_has_a_share_of_its_own(running: Catalog, models: Path) -> None:  # noqa: F811
    say(models, "stable = 1\ncanary = 2\ncanary_weight = 0.5\nsticky = 'client'")
    running.settings = dataclasses.replace(running.settings, trusted_proxies=("127.0.0.1",))
    reloader = Reloader(running)
    await reloader.start("admin")
    app = create_app()
    serve_catalog(app, running)
    async with client_of(app) as client:
        by_caller = [
            {
                (
                    await client.post(f"{AT}/predict", content=jpeg(), headers=IMAGE | {"X-Forwarded-For": caller})
                ).json()["version"]
                for _ in range(2)
            }
            for caller in (f"203.0.113.{number}" for number in range(20))
        ]
    await reloader.close()
    assert {len(versions) for versions in by_caller} == {1}
    assert set.union(*by_caller) == {1, 2}


async def test_nobody_counts_as_a_user_once_they_are_answered(asker: httpx.AsyncClient, rolled_out: Catalog) -> None:
    classifier = rolled_out.find(COLOUR)
    for body in (jpeg(), TEXT):
        await asker.post(f"{AT}/predict", content=body, headers=IMAGE)
    await asker.get(f"/v2/models/{COLOUR}/config")
    assert classifier.users == 0
    assert classifier.is_idle


async def test_the_log_of_rejections_names_the_version(
    app: Starlette, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    guarded = RequestMiddleware(app, traffic_of(dataclasses.replace(settings, allowed_hosts=("sightline",)), app))
    async with client_of(guarded) as client:  # type: ignore[arg-type]
        await client.post(f"{AT}/predict", content=TEXT, headers=IMAGE)
        await client.post("/v1/models/none/predict", content=TEXT, headers=IMAGE)
    rejected = [line for line in caplog.messages if line.startswith("rejected")]
    assert [line.endswith(", version 2") for line in rejected] == [True, False]


ADMIN_KEY, KEY = "a-key-for-admins-only", "a-key-for-everybody"


@pytest.fixture
def admin_keys(tmp_path: Path) -> str:
    (path := tmp_path / "admin-keys").write_text(f"{ADMIN_KEY}\n")
    return str(path)


def test_admin_paths_want_an_admin_key_also_where_nothing_else_does(admin_keys: str) -> None:
    for settings in (
        Settings(admin_keys_file=admin_keys),
        Settings(admin_keys_file=admin_keys, api_keys=(KEY,)),
        Settings(),
    ):
        access = Access(settings, lambda: ["127.0.0.1"])
        for headers in ([], [(b"authorization", f"Bearer {KEY}".encode())]):
            with pytest.raises(Unauthorized, match="an admin key"):
                access.check("/v1/admin/reload", headers)
    shown = [(b"authorization", f"Bearer {ADMIN_KEY}".encode())]
    Access(Settings(admin_keys_file=admin_keys), lambda: ["127.0.0.1"]).check("/v1/admin/reload", shown)
    with pytest.raises(Unauthorized):  # it opens nothing else
        Access(Settings(admin_keys_file=admin_keys, api_keys=(KEY,)), lambda: ["10.0.0.1"]).check(AT, shown)


def test_reloading_by_admins_wants_keys_of_theirs() -> None:
    with pytest.raises(SettingsError, match="SIGHTLINE_ADMIN_KEYS_FILE"):
        Settings(reload="admin")


def test_an_empty_file_of_admin_keys_stops_the_start(tmp_path: Path) -> None:
    (path := tmp_path / "keys").write_text("# none yet\n")
    with pytest.raises(SettingsError, match="no key in"):
        Access(Settings(admin_keys_file=str(path)), lambda: ["127.0.0.1"])


async def test_an_admin_has_the_server_look_now(models: Path, admin_keys: str) -> None:  # noqa: F811
    settings = Settings(
        models=models, engine="openvino", precision="float32", reload="admin", admin_keys_file=admin_keys
    )
    catalog = Catalog(settings)
    reloader, app = Reloader(catalog), create_app()
    serve_catalog(app, catalog, reloader)
    async with client_of(app) as client:
        assert (await client.post("/v1/admin/reload")).status_code == 503
        await catalog.load()
        await reloader.start("admin")
        say(models, "stable = 1")
        await asyncio.sleep(0.05)
        assert catalog.find(COLOUR).card.version == 2
        assert (await client.post("/v1/admin/reload")).json() == {"loading": []}
        assert catalog.find(COLOUR).card.version == 1
        say(models, "stable = 9")
        wrong = await client.post("/v1/admin/reload")
        assert (wrong.status_code, wrong.json()["code"]) == (409, "rollout-file")
        assert (await client.get("/v1/admin/reload")).status_code == 405
    await reloader.close()
    await catalog.close()


async def test_without_the_setting_nothing_is_reloaded(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/admin/reload")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-path")
    assert "SIGHTLINE_RELOAD" in answer.json()["detail"]


async def test_the_page_says_so_where_pictures_are_kept(client: httpx.AsyncClient, tmp_path: Path) -> None:
    assert "keeps some of the pictures" not in (await client.get("/")).text
    catalog, app = Catalog(Settings(models=tmp_path, keep_samples=str(tmp_path))), create_app()
    serve_catalog(app, catalog)
    async with client_of(app) as asker:
        assert "keeps some of the pictures" in (await asker.get("/")).text
    await catalog.close()
