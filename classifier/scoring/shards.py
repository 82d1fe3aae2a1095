"""A share of the images, so that several machines work without talking to each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Shard(NamedTuple):
    """The images at positions `number` - 1, `number` - 1 + `of`, … of the input; `1/1` is all of them."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def pick(self, items: Iterable[T]) -> Iterator[T]:
        return islice(items, self.number - 1, None, self.of)

    def share(self, total: int) -> int:
        """How many of so many images it has."""
        return len(range(self.number - 1, total, self.of))


WHOLE = Shard()
