"""Whose word on a caller's address is taken: proxies that the operator named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Headers = Sequence[tuple[bytes, bytes]]

_FORWARDED_FOR = b"x-forwarded-for"
_ADDRESS = re.compile(r"[0-9A-Za-z.:%_-]{1,64}")


def peer_of(client: Sequence[Any] | None) -> str:
    """The address of the other end of a connection, fit for a log."""
    address = str((client or ("unknown",))[0])
    return address if _ADDRESS.fullmatch(address) else "unknown"


def read_network(text: str) -> IPv4Network | IPv6Network:
    """An address or a network. Raises ValueError."""
    return ip_network(text, strict=False)


class TrustedProxies:
    """Addresses and networks of proxies; each must have passed `read_network`."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._networks = tuple(read_network(entry) for entry in entries)
        self._is_trusted = lru_cache(maxsize=256)(self._look_up)

    def __contains__(self, address: str) -> bool:
        return bool(self._networks) and self._is_trusted(address)

    def caller_of(self, scope: Mapping[str, Any]) -> str:
        """The address of a request's caller, fit for a log; behind a trusted proxy the one that it names."""
        return self.caller(peer_of(scope.get("client")), scope["headers"])

    def caller(self, peer: str, headers: Headers) -> str:
        """The address that a request comes from, where `peer` is the other end of its connection.

        That is the peer, or, if that is trusted, the last address in X-Forwarded-For that is not.
        """
        if peer not in self:
            return peer
        named = [one for name, value in headers if name == _FORWARDED_FOR for one in value.decode("latin-1").split(",")]
        for address in map(_without_port, reversed(named)):
            if _parsed(address) is None or not _ADDRESS.fullmatch(address):  # a proxy may hand on what a caller claims
                return peer
            peer = address
            if address not in self:
                return address
        return peer

    def _look_up(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _without_port(entry: str) -> str:
    """Of `1.2.3.4:80` and `[::1]:80`, which some proxies write."""
    entry = entry.strip()
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, _ = entry.rpartition(":")
    return host if colon and ":" not in host else entry
