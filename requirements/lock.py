"""Resolve the dependency sets of pyproject.toml into requirements/*.txt: name==version and hashes, no index address.

Every set is constrained by the one it contains, so `serve.txt` has the same versions as `dev.txt`.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SETS = {"dev": ["--extra", "dev"], "train": ["--extra", "train"], "gpu": ["--extra", "gpu"], "serve": []}


def main() -> None:
    for name, extras in SETS.items():
        constraint = [] if name == "dev" else ["--constraint", str(HERE / "dev.txt")]
        command = ["uv", "pip", "compile", "pyproject.toml", "--output-file", str(HERE / f"{name}.txt"), *extras]
        options = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-header", "--no-annotate"]
        subprocess.run([sys.executable, "-m", *command, *options, *constraint, "--quiet"], cwd=HERE.parent, check=True)


if __name__ == "__main__":
    main()
