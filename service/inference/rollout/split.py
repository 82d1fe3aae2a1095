"""Which of a model's requests its canary answers."""

from __future__ import annotations

import hashlib
import random
from typing import Literal, NamedTuple

from service.inference.classifier import Classifier


class Split(NamedTuple):
    """The share `weight`, 0..1, of the requests that name no version goes to the canary.

    Requests of one key, or of one client, go the same way: on every server alike, and to the canary still when its
    weight grows.
    """

    canary: Classifier
    weight: float
    sticky: Literal["key", "client", "off"]

    def takes(self, key: bytes, client: str) -> bool:
        """Whether the canary answers a request with this key, b"" for none, of this client."""
        if self.canary.reason:
            return False
        if self.sticky == "off":
            return random.random() < self.weight  # noqa: S311 (nothing secret)
        who = key if key and self.sticky == "key" else client.encode()
        return position(self.canary.card.name, who) < self.weight


def position(model: str, who: bytes) -> float:
    """Where a key lies in 0..1, evenly spread and for each model anew."""
    digest = hashlib.blake2b(who, digest_size=8, key=model.encode()[:64]).digest()
    return int.from_bytes(digest, "big") / 2**64
