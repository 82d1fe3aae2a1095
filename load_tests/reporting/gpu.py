"""What `load_tests/gpu.sh` found where there is a GPU, as a section of docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from load_tests.reporting.figures import Raw
from load_tests.reporting.tables import table

DIFFERENCE, SAME_TOP_CLASS = 1e-3, 0.999  # at most in float32; at least, before bfloat16 is chosen unasked
OF_TORCH = 0.5  # of PyTorch's images a second, at least
LIBRARIES = {"jax": "JAX", "torch": "PyTorch"}
PRECISIONS = ("float32", "bfloat16")
# How the check ran on 2026-11-27, when it did not keep that itself.
_FIRST_RUN = (
    "`XLA_FLAGS=--xla_gpu_autotune_level=1 load_tests/gpu.sh --total-s 178 --servers 1 8 --batches 1 64 1024"
    " --seconds 3`, which is less time than by default"
)

Speeds = Mapping[tuple[str, str, str], Mapping[int, float | None]]  # by version, library, precision and batch


def gpu_section(raw: Raw | None) -> list[str]:
    """How near the answers are, images a second in one process, and what was not shown."""
    if not raw:
        return ["Not measured yet: `load_tests/gpu.sh`."]
    return [*_agreement(raw), "", *_speed(_speeds(raw)), *_missing(raw), "", *_conditions(raw)]


def _title(which: str) -> str:
    name, _, version = which.partition("@")
    return f"`{name}` {version}"


def _agreement(raw: Raw) -> list[str]:
    found = {which: [every[precision]["agreement"] for precision in PRECISIONS] for which, every in raw["jax"].items()}
    rows = [
        (_title(which), *(text for one in both for text in (f"{one['largest_difference']:.1e}", _share(one))))
        for which, both in found.items()
    ]
    images = max(exact["n"] for exact, _ in found.values())
    is_exact = max(exact["largest_difference"] for exact, _ in found.values()) <= DIFFERENCE
    less = [_title(which) for which, (_, reduced) in found.items() if reduced["same_top_class"] < SAME_TOP_CLASS]
    return [
        f"The answers of JAX on the GPU beside those of OpenVINO in float32 on a CPU, to {images:,} pictures: the",
        "largest difference of a probability, and how many have the same top class.",
        "",
        *table(("version", *(f"{name}: {what}" for name in PRECISIONS for what in ("difference", "same class"))), rows),
        "",
        f"- float32, a difference of {DIFFERENCE:g} at most: {'kept' if is_exact else '**missed**'}.",
        f"- bfloat16, the same class for {SAME_TOP_CLASS:g} or more: {_missed_by(less)}.",
        *_torch_agreement(raw),
        "- The pictures are patches of colour, in which there is nothing that a network knows. Photos were not",
        "  compared.",
        "- Unasked the server takes bfloat16 on JAX only where a version's card says that it was compared. No shipped",
        "  card says so, and the server takes float32.",
    ]


def _torch_agreement(raw: Raw) -> list[str]:
    shares = [
        f"{_share(every['bfloat16']['agreement'])} of {_title(which)}"
        for which, every in raw.get("torch", {}).items()
        if "agreement" in every["bfloat16"]
    ]
    return [f"- PyTorch in bfloat16 has the same class for {_and(shares)}."] if shares else []


def _speeds(raw: Raw) -> Speeds:
    """None where there was no time to compile for that."""
    found = {}
    for library in LIBRARIES:
        for which, every in raw.get(library, {}).items():
            for precision, one in every.items():
                batches = [int(name.split()[0]) for name in one if name.endswith(" first_s")]
                if batches:
                    found[which, library, precision] = {batch: one.get(f"{batch} per_s") for batch in sorted(batches)}
    order = list(LIBRARIES)
    return dict(
        sorted(found.items(), key=lambda item: (item[0][0], PRECISIONS.index(item[0][2]), order.index(item[0][1])))
    )


def _speed(speeds: Speeds) -> list[str]:
    batches = sorted({batch for one in speeds.values() for batch in one})
    rows = [
        (_title(which), precision, LIBRARIES[library], *(_number(one.get(batch)) for batch in batches))
        for (which, library, precision), one in speeds.items()
    ]
    ratios = sorted(_ratios(speeds))
    return [
        *table(("version", "precision", "library", *(f"batch of {batch:,}" for batch in batches)), rows),
        "",
        "Images a second in one process, from NumPy to NumPy, without decoding; n=1, 0.7 s each. For a dash there was",
        "no time: to compile took longer. PyTorch runs the same `model.keras`, compiled by `torch.compile`.",
        *(
            [f"JAX is {ratios[0]:.2f} to {ratios[-1]:.2f} times as fast (wanted: {OF_TORCH:g} or more)."]
            if ratios
            else []
        ),
    ]


def _ratios(speeds: Speeds) -> Iterator[float]:
    """JAX's speed as a multiple of PyTorch's, where both were measured."""
    for (which, library, precision), ours in speeds.items():
        theirs = speeds.get((which, "torch", precision), {})
        for batch, per_s in ours.items():
            if library == "jax" and per_s and (other := theirs.get(batch)):
                yield per_s / other


def _missing(raw: Raw) -> list[str]:
    """What the check had no time for."""
    loads: list[Any] = [load for name, part in raw.items() if name.startswith("http,") for load in part.values()]
    lines = []
    if not any("per_s" in load for load in loads if isinstance(load, dict)):
        lines.append("- Requests over HTTP: the servers were not ready in time. The aim was 5,000 photos a second.")
    if "provoked" not in raw["memory"].get("memory", {}):
        lines.append("- That a server survives a lack of the GPU's memory: that part was not over in time.")
    return ["", "**Not shown:**", "", *lines, "- TensorFlow, which was not run on a GPU."]


def _conditions(raw: Raw) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in raw["libraries"].items())
    how = f"`XLA_FLAGS={raw['xla_flags']} load_tests/gpu.sh {' '.join(raw['arguments'])}`" if "arguments" in raw else ""
    return [
        f"- {raw['date'][:10]}, commit {raw['commit']}; {raw['gpu']}; {raw['machine'].partition(', load')[0]}.",
        f"- {versions}.",
        f"- {how or _FIRST_RUN} ([raw](../load_tests/results/gpu.json)).",
    ]


def _missed_by(versions: list[str]) -> str:
    return f"**missed** by {_and(versions)}" if versions else "kept"


def _share(agreement: Raw) -> str:
    return f"{agreement['same_top_class']:.3f}"


def _number(per_s: float | None) -> str:
    return f"{per_s:,.0f}" if per_s else "-"


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
