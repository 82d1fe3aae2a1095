"""Pictures to score: good ones, and one of each fault."""

from __future__ import annotations

from pathlib import Path

from tests.archives import jpeg, picture

FAULTS = {"cut.jpg": "undecodable-image", "text.png": "not-an-image", "wide.bmp": "too-many-pixels"}


def bmp_that_claims(width: int, height: int) -> bytes:
    head = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    head += width.to_bytes(4, "little") + height.to_bytes(4, "little") + b"\x01\x00\x18\x00" + bytes(24)
    return head


def good_pictures(folder: Path, count: int) -> Path:
    """`a/0000.jpg`, `b/0001.jpg` and so on, in two folders."""
    for seed in range(count):
        file = folder / "ab"[seed % 2] / f"{seed:04}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(picture(seed % 3, 3, seed, 24)))
    return folder


def faulty_pictures(folder: Path) -> Path:
    """A file for each of FAULTS, and files that are no images."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cut.jpg").write_bytes(jpeg(picture(0, 3, 0, 24))[:200])
    (folder / "text.png").write_bytes(b"no picture")
    (folder / "wide.bmp").write_bytes(bmp_that_claims(30_000, 30_000))
    (folder / "notes.txt").write_bytes(b"is left out")
    (folder / ".hidden.jpg").write_bytes(b"is left out")
    return folder
