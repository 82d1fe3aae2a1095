"""Packs what `load_tests/gpu.sh` needs on a machine without a network: locked wheels and the answers to compare with.

Run:    python -m load_tests.gpu.pack FOLDER        (load_tests/gpu.sh pack)

The wheels are those of the serving set and of Keras, for Python 3.12 on Linux, without OpenVINO and without what the
machine has: JAX, PyTorch, NumPy, Pillow.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from load_tests.gpu import reference
from load_tests.record import ROOT

OF_KERAS = ("absl-py", "h5py", "keras", "namex", "optree")
LEFT_OUT = ("numpy", "openvino", "openvino-telemetry", "pillow", "setuptools")
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MOST_BYTES = 60_000_000

_ENTRY = re.compile(r"^([a-z0-9][a-z0-9._-]*)==.*?(?=^[a-z0-9]|\Z)", re.MULTILINE | re.DOTALL)


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0])
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write(locked())
        wanted.flush()
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--requirement", wanted.name, "--dest", str(wheels)]
        how = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", PYTHON]
        subprocess.run([*pip, *how, *(f"--platform={name}" for name in PLATFORMS)], check=True)
    reference.main([str(folder / "reference.npz")])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{size / 1e6:.1f} MB in {folder}")
    if size > MOST_BYTES:
        raise SystemExit(f"that is more than {MOST_BYTES / 1e6:.0f} MB")


def locked() -> str:
    """The lines of the locks, hashes included."""
    serving = _entries(ROOT / "requirements" / "serve.txt")
    keras = _entries(ROOT / "requirements" / "gpu-jax.txt")
    chosen = {name: text for name, text in serving.items() if name not in LEFT_OUT}
    return "".join((chosen | {name: keras[name] for name in OF_KERAS}).values())


def _entries(lock: Path) -> dict[str, str]:
    return {found[1]: found[0] for found in _ENTRY.finditer(lock.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    main(sys.argv[1:])
