"""Our image and the stock one, built by an engine from a Bento."""

from __future__ import annotations

from tests.deploy.containers.engine import DOCKER, Engine
from tests.e2e.bentos import BENTOML, Bento, make_command

OURS, STOCK = "sightline:ours", "sightline:stock"


def make_ours(engine: Engine, bento: Bento, image: str = OURS, *options: str) -> None:
    """`make image` with these options of `docker build`."""
    words = " ".join(["--network host", *options])
    command = make_command("image", f"IMAGE={image}", f"OPTIONS={words}", done="bento")
    environ = {"DOCKER": DOCKER, "MAKEFLAGS": "", "SOURCE_DATE_EPOCH": "1700000000"}
    engine.run(*command, timeout_s=900, environ=bento.environ | environ)


def make_stock(engine: Engine, bento: Bento) -> None:
    command = [str(BENTOML), "containerize", bento.tag, "--opt", "network=host", "-t", STOCK]
    engine.run(*command, timeout_s=900, environ=bento.environ)
