"""What the tests of the service share: a loaded catalog, an app that answers for it, and a client without sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from classifier.engines import throughput
from classifier.loaded_model import LoadedModel
from service.api.routes import create_app, serve_catalog
from service.inference.catalog import Catalog
from service.settings import Settings
from tests.classifier.engines.straying import Strays, install
from tests.tiny_models import COLOUR


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Tests run on the loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def settings(tiny_models_root: Path) -> Settings:
    return Settings(models=tiny_models_root, engine="openvino", precision="float32", max_body_bytes=200_000)


@pytest.fixture(scope="session")
async def catalog(settings: Settings) -> AsyncIterator[Catalog]:
    """Every tiny version, loaded and proved."""
    catalog = Catalog(settings)
    await catalog.load()
    catalog.check_ready()
    yield catalog
    await catalog.close()


@pytest.fixture(scope="session")
def app(catalog: Catalog) -> Starlette:
    app = create_app()
    serve_catalog(app, catalog)
    return app


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture(scope="session")
def offline(catalog: Catalog) -> LoadedModel:
    """The default version of the colour model, to be asked without HTTP and without a batch."""
    return catalog.find(COLOUR).model


def client_of(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sightline")


@pytest.fixture
def strays(monkeypatch: pytest.MonkeyPatch) -> Strays:
    return install(monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def quickly_measured() -> Iterator[None]:
    """Catalogs measure their networks for a short time: which size of batch is the fastest matters to no test here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(throughput, "BUDGET_S", 0.03)
        yield
