"""Runs a command beside a container engine that holds our image, built from this checkout. Takes some minutes first.

Run:    python -m tests.deploy.containers COMMAND [ARGUMENT ...]
Needs:  root, docker.io and mmdebstrap (Debian's packages).
Gives:  the command's exit status. It finds the engine by DOCKER_HOST and DOCKER, and the image as sightline:ours:

    python -m tests.deploy.containers .venv/bin/python -m load_tests.starts --times 5 --image sightline:ours
    python -m tests.deploy.containers .venv/bin/python -m load_tests.chaos --parts rolling --times 20 \\
        --image sightline:ours
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.deploy.containers import engine, images
from tests.e2e.bentos import Bento, build


def main(command: Sequence[str]) -> int:
    if not command:
        raise SystemExit(__doc__)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bento-") as home, engine.engine(Path(tempfile.mkdtemp())) as there:
        build(Path(home))
        engine.make_base(there)
        images.make_ours(there, Bento(Path(home)))
        print(f"{images.OURS} was built in {time.monotonic() - began:.0f} s, DOCKER_HOST={there.host}", flush=True)
        return subprocess.run(command, env=there.environ | {"DOCKER": engine.DOCKER}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
