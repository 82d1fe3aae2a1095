"""A container engine of the tests' own, and servers in containers of it.

`dockerd` needs no firewall and no bridge here: the containers use the host's network. No registry of images is asked:
the base image is made of Debian's packages.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from load_tests.starts.containers import HARDENED, LIMITED, MEMORY_ONLY, used_bytes
from tests.e2e.servers import free_port

# Debian's client, of the same version as its daemon; another one may come first on the path.
DOCKER, DOCKERD, MMDEBSTRAP = "/usr/bin/docker", "/usr/sbin/dockerd", "/usr/bin/mmdebstrap"
WITHOUT = "WITHOUT_DOCKERD"  # a variable: set, tests do as on a machine where none runs
BASE = "python:3.11-slim"
HOST_CERTIFICATES = "/etc/ssl/host-ca.crt"
BASE_VARIABLES = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
BASE_VARIABLES |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), HOST_CERTIFICATES)


class NoEngine(Exception):
    """No container engine can run here; says why."""


@dataclass(frozen=True)
class Engine:
    """A running `dockerd` whose socket, data and log lie in `folder`."""

    folder: Path

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/socket"

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"DOCKER_HOST": self.host, "PATH": f"/usr/bin:{os.environ['PATH']}"}

    def docker(self, *arguments: str, timeout_s: float = 60) -> str:
        """What the client prints. Raises AssertionError with what it complained of."""
        return self.run(DOCKER, *arguments, timeout_s=timeout_s)

    def run(self, *command: str, timeout_s: float, environ: dict[str, str] | None = None) -> str:
        environ = self.environ | (environ or {})
        done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True, timeout=timeout_s)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def try_docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What came of it, whatever that is."""
        return subprocess.run([DOCKER, *arguments], env=self.environ, check=False, capture_output=True, text=True)

    def inspect(self, name: str) -> Any:
        return json.loads(self.docker("inspect", name))[0]


@dataclass(frozen=True)
class Container:
    """A server in a container on the host's network."""

    engine: Engine
    name: str
    url: str
    started_at: float

    @property
    def log(self) -> str:
        done = self.engine.try_docker("logs", self.name)
        return done.stdout + done.stderr

    @property
    def state(self) -> Any:
        return self.engine.inspect(self.name)["State"]

    def memory_bytes(self) -> int:
        """What the engine counts against its limit, without file pages that the kernel gives back first."""
        return used_bytes(self.engine.docker("stats", *MEMORY_ONLY, self.name))

    def process_ids(self) -> list[int]:
        """The host's ids of its processes, the first of the container first."""
        listed = self.engine.docker("top", self.name, "-o", "pid").split()[1:]
        return [int(pid) for pid in listed]

    def wait_until_ready(self, timeout_s: float = 300) -> float:
        """Seconds from the start until /readyz answers 200. Raises AssertionError with the log."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return time.monotonic() - self.started_at
            time.sleep(0.1)
        raise AssertionError(f"{self.name} was never ready\n{self.log}")


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """Start `dockerd`; stop it and remove its data at the end. Raises NoEngine where it cannot run."""
    if os.environ.get(WITHOUT):
        raise NoEngine(f"{WITHOUT} is set")
    if os.geteuid() != 0:
        raise NoEngine("a container engine wants root")
    if missing := [name for name in (DOCKER, DOCKERD, MMDEBSTRAP) if not Path(name).exists()]:
        raise NoEngine(f"no {', '.join(missing)}: apt-get install docker.io mmdebstrap")
    there = Engine(folder)
    options = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    options += ["--host", there.host, "--iptables=false", "--ip6tables=false", "--bridge=none"]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen([DOCKERD, *options], stdout=log, stderr=log)
        try:
            _wait_for(there, daemon)
            yield there
        finally:
            _remove_containers(there)
            daemon.terminate()
            daemon.wait(60)
            subprocess.run(["umount", f"{folder}/exec/netns/default"], check=False, capture_output=True)
            subprocess.run(["rm", "-rf", folder], check=False, capture_output=True)  # hundreds of thousands of files


def make_base_archive(folder: Path) -> Path:
    """The files of an image like the official one of Python 3.11, of Debian's packages by this machine's sources."""
    archive = folder / "base.tar"
    sources = [str(path) for path in Path("/etc/apt/sources.list.d").glob("*.sources")] or ["/etc/apt/sources.list"]
    no_documents = [f"--dpkgopt=path-exclude=/usr/share/{kind}/*" for kind in ("doc", "man", "locale")]
    wheel = "set -- /usr/share/python-wheels/pip-*.whl; python \\$1/pip install"
    hooks = (
        "rm -f $1/usr/lib/python3.11/EXTERNALLY-MANAGED; ln -s python3.11 $1/usr/bin/python",
        f"cp /etc/ssl/certs/ca-certificates.crt $1{HOST_CERTIFICATES}",
        f'chroot $1 sh -c "{wheel} --quiet --no-cache-dir --no-index --find-links /usr/share/python-wheels pip"',
    )
    merged = ("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", *(f"--customize-hook={hook}" for hook in hooks))
    packages = "--include=ca-certificates,python3.11-venv,usr-is-merged"
    options = ("--quiet", "--variant=minbase", packages, *no_documents, *merged)
    command = [MMDEBSTRAP, *options, "bookworm", str(archive), *sources]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return archive


def make_base(there: Engine) -> None:
    """Import that image under the official one's name."""
    archive = make_base_archive(there.folder)
    changes = [part for name, value in BASE_VARIABLES.items() for part in ("--change", f"ENV {name}={value}")]
    there.docker("import", *changes, str(archive), BASE, timeout_s=120)
    archive.unlink()


@contextmanager
def serving(there: Engine, image: str, name: str, *options: str, words: Sequence[str] = ()) -> Iterator[Container]:
    """A hardened container on a free port, open to everybody; not necessarily ready yet. `words` follow the image."""
    port = free_port()
    environ = {"SIGHTLINE_ALLOW_ANONYMOUS": "true", "PORT": str(port), "SIGHTLINE_MAX_LAG_MS": "10000"}
    variables = [part for key, value in environ.items() for part in ("--env", f"{key}={value}")]
    hardened = ("--network", "host", *HARDENED, *LIMITED)
    started_at = time.monotonic()
    there.docker("run", "--detach", "--name", name, *hardened, *variables, *options, image, *words)
    try:
        yield Container(there, name, f"http://127.0.0.1:{port}", started_at)
    finally:
        there.docker("rm", "--force", name)


def _wait_for(there: Engine, daemon: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and daemon.poll() is None:
        if there.try_docker("info").returncode == 0:
            return
        time.sleep(0.3)
    raise NoEngine(f"dockerd does not run here: {(there.folder / 'log').read_text()[-1000:]}")


def _remove_containers(there: Engine) -> None:
    if listed := there.try_docker("ps", "--all", "--quiet").stdout.split():
        there.try_docker("rm", "--force", *listed)
