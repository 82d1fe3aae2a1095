"""Files that are not what they seem: each is named, with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from training.checking.evidence import Evidence
from training.checking.files.sight import Sight
from training.checking.finding import Case, Finding, Kind, Severity
from training.datasets.dataset import printable

TINY = 16  # pixels: a side below it
ENORMOUS = 30_000_000  # pixels

_FORMATS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "PNG": ("png",),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "BMP": ("bmp",),
    "TIFF": ("tif", "tiff"),
    "AVIF": ("avif",),
    "HEIC": ("heic", "heif"),
}
_BY_ENDING = {ending: kind for kind, endings in _FORMATS.items() for ending in endings}


def find_faults(evidence: Evidence) -> list[Finding]:
    """What is wrong with files one by one, and why a fit would refuse the whole."""
    found = [
        *_refused(evidence),
        _finding(
            "unreadable",
            "problem",
            "cannot be read",
            "A fit leaves them out. Replace or remove them.",
            (Case((each.file,), each.reason) for each in evidence.unreadable),
        ),
        *(
            _finding(kind, severity, what, advice, _cases(evidence, says))
            for kind, severity, what, advice, says in _OF_PICTURES
        ),
        _finding(
            "blank",
            "warning",
            "show one colour and nothing else",
            "Nothing can be learned from them. Remove them.",
            (Case((evidence.pictures.names[i],), "one colour") for i in evidence.pictures.flat.nonzero()[0]),
        ),
        _finding(
            "stray",
            "note",
            "lie there and belong to no class",
            "A fit leaves them out. Move or remove them.",
            (Case((each.file,), each.reason) for each in evidence.left_out),
        ),
    ]
    return [each for each in found if each]


def _refused(evidence: Evidence) -> list[Finding]:
    named = [
        Finding("classes", "warning", said[0].upper() + said[1:], "One folder for each class.", 0)
        for said in evidence.warnings
    ]
    if evidence.refused is None:
        return named
    advice = "Put this right first; the other findings hold for what could be read."
    return [Finding("refused", "problem", f"A fit refuses the data: {evidence.refused}", advice, 0), *named]


def _misnamed(name: str, sight: Sight) -> str | None:
    ending = name.rpartition(".")[2].lower()
    expected = _BY_ENDING.get(ending)
    if not sight.format or expected in (None, sight.format):
        return None
    return f"called .{ending}, and holds {sight.format}"


def _several(_: str, sight: Sight) -> str | None:
    return f"{sight.format} with further pictures" if sight.several else None


def _odd_size(_: str, sight: Sight) -> str | None:
    size = f"{sight.width} x {sight.height} pixels"
    if min(sight.width, sight.height) < TINY:
        return f"tiny: {size}"
    return f"enormous: {size}" if sight.width * sight.height > ENORMOUS else None


_OF_PICTURES: tuple[tuple[Kind, Severity, str, str, Callable[[str, Sight], str | None]], ...] = (
    (
        "misnamed",
        "note",
        "are called after another format than they hold",
        "They are read by their content. Other programs may fail on them: rename them.",
        _misnamed,
    ),
    (
        "animated",
        "warning",
        "hold more than one picture",
        "Only the first one is read. Save the one that you mean as a file of its own.",
        _several,
    ),
    (
        "size",
        "warning",
        "are tiny or enormous",
        "Tiny ones show little, and enormous ones take long to read.",
        _odd_size,
    ),
)


def _cases(evidence: Evidence, says: Callable[[str, Sight], str | None]) -> Iterable[Case]:
    named = zip(evidence.pictures.names, evidence.sights or (), strict=False)
    return (Case((name,), said) for name, sight in named if (said := says(name, sight)))


def _finding(kind: Kind, severity: Severity, what: str, advice: str, cases: Iterable[Case]) -> Finding | None:
    listed = tuple(Case(tuple(map(printable, case.files)), case.said) for case in cases)
    if not listed:
        return None
    count = "1 file" if len(listed) == 1 else f"{len(listed):,} files"
    verb = {"are": "is", "hold": "holds", "show": "shows", "lie": "lies", "belong": "belongs"}
    words = what.split(" ")
    said = " ".join(verb.get(word, word) for word in words) if len(listed) == 1 else what
    return Finding(kind, severity, f"{count} {said}", advice, len(listed), listed)
