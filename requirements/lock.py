"""Resolve the dependency sets of pyproject.toml into requirements/*.txt: name==version and hashes, no index address.

Every set is constrained by the one it contains, so `serve.txt` has the same versions as `dev.txt`.
`otel.txt` is the serving set with what sends spans.
`bento.txt`, for what `bentoml build` wants beside the serving set, comes from `bento.in`.
`peers.txt`, for the servers that ours is compared with, comes from `peers.in` and shares its versions where it can.
`kserve.txt`, for KServe's client, comes from `kserve.in`; it keeps protobuf and others below the versions in `dev.txt`.
`perf-analyzer.txt`, for NVIDIA's load generator, comes from `perf-analyzer.in`.
`api-clients.txt`, for clients made of the OpenAPI document, and `site.txt`, for the documents' site, come from theirs.
`kubernetes.txt`, for the check of the manifests, and `sbom.txt`, for the image's bill of materials, come from theirs.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
EXTRAS = {
    "dev": ["--extra", "dev"],
    "train": ["--extra", "transfer"],
    "gpu": ["--extra", "gpu"],
    "gpu-jax": ["--extra", "gpu-jax"],
    "otel": ["--extra", "otel"],
}
ALONE = ("api-clients", "kserve", "kubernetes", "perf-analyzer", "sbom", "site")  # each in an environment of its own
SETS = EXTRAS | {"serve": [], "bento": [], "peers": []} | {name: [] for name in ALONE}


def main() -> None:
    for name, extras in SETS.items():
        constraint = [] if name in ("dev", *ALONE) else ["--constraint", str(HERE / "dev.txt")]
        source = f"requirements/{name}.in" if (HERE / f"{name}.in").exists() else "pyproject.toml"
        command = ["uv", "pip", "compile", source, "--output-file", str(HERE / f"{name}.txt"), *extras]
        options = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-header", "--no-annotate"]
        subprocess.run([sys.executable, "-m", *command, *options, *constraint, "--quiet"], cwd=HERE.parent, check=True)


if __name__ == "__main__":
    main()
