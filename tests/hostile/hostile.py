"""What all makers of hostile pictures share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

OK = "ok"
DAMAGED = "undecodable-image"
COMPLEX = "too-complex-image"
SLOW = "too-slow-to-decode"
MEMORY = "too-much-memory-to-decode"
LARGE = "too-many-pixels"


class Hostile(NamedTuple):
    """One picture. `codes` are the right answers."""

    name: str
    body: bytes
    codes: frozenset[str]


class Maker(NamedTuple):
    """Makes pictures of about so many bytes; where `is_sized` is false, always the same one."""

    name: str
    make: Callable[[int], bytes]
    codes: frozenset[str]
    is_sized: bool = True

    def __call__(self, size: int) -> Hostile:
        body = self.make(size)
        return Hostile(f"{self.name}-{len(body)}", body, self.codes)

    def all(self, sizes: Iterable[int]) -> Iterator[Hostile]:
        return (self(size) for size in (sizes if self.is_sized else (0,)))


def sized(name: str, make: Callable[[int], bytes], codes: Collection[str]) -> Maker:
    return Maker(name, make, frozenset(codes))


def single(name: str, make: Callable[[], bytes], codes: Collection[str]) -> Maker:
    return Maker(name, lambda _: make(), frozenset(codes), is_sized=False)
