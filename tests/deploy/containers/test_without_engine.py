"""Our image where no container engine can run: Buildah builds it, and runs it in a changed root.

That is less than a container: the network and the processes are the machine's, nothing is limited, and the root is not
read-only. What it shows is that the Dockerfile builds, and that what it builds serves under a strange user id.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.containers import engine as engines
from tests.deploy.containers.answers import answers
from tests.deploy.containers.images import OURS
from tests.e2e.bentos import Bento, make_command
from tests.e2e.servers import Server, free_port, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

BUILDAH = "/usr/bin/buildah"
CHROOT = ("--isolation", "chroot")


@dataclass(frozen=True)
class Store:
    """Where Buildah keeps images and roots."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"), "TMPDIR": str(self.folder)}

    def run(self, *command: str, timeout_s: float = 300, **variables: str) -> str:
        """What it prints. Raises AssertionError with what it complained of."""
        environ = self.environ | variables
        done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True, timeout=timeout_s)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    _check_there_is_no_engine(tmp_path_factory.mktemp("docker"))
    if missing := [name for name in (BUILDAH, engines.MMDEBSTRAP) if not Path(name).exists()]:
        pytest.skip(f"no {', '.join(missing)}: apt-get install buildah mmdebstrap")
    folder = tmp_path_factory.mktemp("buildah")
    text = f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(text)
    yield Store(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _check_there_is_no_engine(folder: Path) -> None:
    try:
        with engines.engine(folder):
            pytest.skip("dockerd runs here, so test_container.py tries the image")
    except engines.NoEngine as reason:
        if os.geteuid() != 0:
            pytest.skip(f"{reason}, and so does Buildah")


@pytest.fixture(scope="module")
def image(store: Store, bento: Bento) -> str:
    """Built by `make image`, on a base of Debian's packages."""
    archive = engines.make_base_archive(store.folder)
    base = store.run(BUILDAH, "from", "scratch")
    store.run(BUILDAH, "add", "--quiet", base, str(archive), "/")
    archive.unlink()
    variables = [word for name, value in engines.BASE_VARIABLES.items() for word in ("--env", f"{name}={value}")]
    store.run(BUILDAH, "config", *variables, base)
    store.run(BUILDAH, "commit", "--quiet", "--rm", base, engines.BASE)
    options = " ".join(("--network host --pull-never --format docker", *CHROOT))
    command = make_command("image", f"IMAGE={OURS}", f"OPTIONS={options}", done="bento")
    store.run(*command, timeout_s=900, DOCKER=BUILDAH, MAKEFLAGS="", **bento.environ)
    return OURS


def test_an_image_of_buildah_answers_as_the_checkout_does_in_a_changed_root(
    store: Store, image: str, expected: dict[str, list[object]]
) -> None:
    root = store.run(BUILDAH, "from", "--pull-never", image)
    port = free_port()
    program = f"exec sightline serve --no-supervisor --host 127.0.0.1 --port {port}"
    command = [BUILDAH, "run", *CHROOT, "--user", "12345:0", root, "--", "/bin/sh", "-c", program]
    log = store.folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=store.environ, stdout=out, stderr=out)
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until(server, "/readyz", 200, timeout_s=300)
        assert answers(server.url) == expected
        assert _user_ids(server) >= {12345}
    finally:
        _end(server)


def _user_ids(server: Server) -> set[int]:
    return {Path(f"/proc/{pid}").stat().st_uid for pid in server.process_ids()}


def _end(server: Server) -> None:
    """The server itself first: Buildah ends with it."""
    for pid in reversed(server.process_ids()):
        os.kill(pid, signal.SIGTERM)
    server.process.wait(60)
