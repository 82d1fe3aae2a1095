"""Containers of our image on the host's network, hardened and limited as an operator would run them.

`docker` is asked, or the program that DOCKER names; DOCKER_HOST says where its engine is.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import uuid

from load_tests import servers

USER = "12345:0"  # whom the image has never heard of
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108
LIMITED = ("--cpus", "2", "--memory", "512m", "--pids-limit", "256")
MEMORY_ONLY = ("--no-stream", "--format", "{{.MemUsage}}")  # of what `docker stats` knows
STOPS_WITHIN_S = 40
LOOK_EVERY_S = 0.05

_BINARY = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Container:
    """A server in a container, which is started, stopped and started again. `settings` lack their prefix SIGHTLINE_."""

    def __init__(self, image: str, **settings: str) -> None:
        self.port = servers.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.name = f"load-test-{uuid.uuid4().hex[:12]}"
        given = {f"SIGHTLINE_{name}": text for name, text in settings.items()}
        given |= {"PORT": str(self.port), "SIGHTLINE_ALLOW_ANONYMOUS": "true"}
        variables = [word for name, text in given.items() for word in ("--env", f"{name}={text}")]
        docker(
            "create", "--name", self.name, "--network", "host", "--user", USER, *HARDENED, *LIMITED, *variables, image
        )

    @property
    def pid(self) -> int:
        """The host's id of its first process, which is the server."""
        return int(docker("inspect", "--format", "{{.State.Pid}}", self.name))

    @property
    def log(self) -> str:
        done = subprocess.run([_docker(), "logs", self.name], check=False, capture_output=True, text=True)
        return done.stdout + done.stderr

    def memory_bytes(self) -> int:
        """What counts against its limit: of all its processes, without file pages that the kernel gives back first."""
        return used_bytes(docker("stats", *MEMORY_ONLY, self.name))

    def start(self) -> None:
        docker("start", self.name)

    def begin_to_stop(self) -> subprocess.Popen[bytes]:
        """Have the engine send SIGTERM; what is given back ends with the container."""
        command = [_docker(), "stop", "--time", str(STOPS_WITHIN_S), self.name]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def remove(self) -> None:
        docker("rm", "--force", self.name)

    def wait_until_ready(self) -> None:
        """Ends the run with the container's log where that takes too long."""
        until = time.monotonic() + servers.READY_WITHIN_S
        while not servers.is_ready(self.url):
            if time.monotonic() > until:
                raise SystemExit(f"the container did not become ready; its log ends:\n{self.log[-2000:]}")
            time.sleep(LOOK_EVERY_S)


def used_bytes(shown: str) -> int:
    """The memory that `docker stats` says is used. Ends the run where it says something else."""
    used = re.match(r"([\d.]+)(\w+) /", shown)
    if used is None:
        raise SystemExit(f"docker stats says {shown!r} of the memory; expected a number with a unit, then `/`")
    return round(float(used[1]) * _BINARY[used[2]])


def docker(*words: str) -> str:
    """What the client prints. Ends the run with what it complained of."""
    done = subprocess.run([_docker(), *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"docker {words[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _docker() -> str:
    return os.environ.get("DOCKER", "docker")
