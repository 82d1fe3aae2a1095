from __future__ import annotations

import pytest

from service.surroundings.trusted_proxies import TrustedProxies, peer_of

PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::1"])


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), *((b"x-forwarded-for", value.encode()) for value in values)]


@pytest.mark.parametrize(
    ("peer", "values", "caller"),
    [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("fd00::1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "10.9.9.9"], "203.0.113.7"),
        ("10.0.0.1", ["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, <script>"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("203.0.113.9", ["203.0.113.7"], "203.0.113.9"),
        ("fd00::2", ["203.0.113.7"], "fd00::2"),
        ("unknown", ["203.0.113.7"], "unknown"),
    ],
    ids=[
        *("of a network", "of IPv6", "behind two", "behind two in two headers", "who claims another", "with a port"),
        *("IPv6 with a port", "IPv6", "IPv4 in IPv6", "proxies only", "not said", "no address", "empty"),
        *("of a stranger", "of a neighbour of a proxy", "of nobody"),
    ],
)
def test_the_caller_is_the_last_address_that_is_no_proxy(peer: str, values: list[str], caller: str) -> None:
    assert PROXIES.caller(peer, forwarded(*values)) == caller


def test_without_proxies_nobody_is_believed() -> None:
    assert TrustedProxies().caller("127.0.0.1", forwarded("203.0.113.7")) == "127.0.0.1"


@pytest.mark.parametrize("claimed", ["a\nb", "x" * 65, "<script>", "", "a b"])
def test_what_is_no_address_does_not_reach_the_log(claimed: str) -> None:
    assert peer_of((claimed, 0)) == "unknown"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%eth0", "testclient"])
def test_an_address_is_logged_as_it_is(address: str) -> None:
    assert peer_of((address, 0)) == address


def test_a_connection_without_an_address_is_of_somebody_unknown() -> None:
    assert peer_of(None) == "unknown"
