"""Both clients over connections of their own, which lead to a network in memory."""

from __future__ import annotations

import pytest

from service.client import Client
from tests.service.client.doubles import URL, Driven, Make
from tests.service.client.transport.network import Network

LISTED = b'{"models": [{"model": "pets", "version": 2, "versions": [2], "ready": true}]}'
ANSWER = b'{"model": "pets", "version": 2, "predictions": [{"label": "cat", "probability": 1.0}]}'
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
SECRET = b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"  # me:secret


def ok(content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content) + content


@pytest.fixture
def over(network: Network, client_of: Make) -> Make:
    """Makes clients that open connections themselves."""

    def make(base_url: str = URL, **options: object) -> object:
        return client_of(None, transport=None, base_url=base_url, trust_env=False, **options)

    return make


def test_a_request_goes_to_the_server_s_host_and_port_and_its_answer_comes_back(over: Make, network: Network) -> None:
    network.parts = [ok(ANSWER)]
    assert over().predict("pets", b"jpeg").top.label == "cat"
    head, _, body = bytes(network.sent).partition(b"\r\n\r\n")
    assert network.opened_to == [("sightline", 3000)]
    assert head.startswith(b"POST /v1/models/pets/predict HTTP/1.1\r\n")
    assert b"\r\nHost: sightline:3000\r\n" in head
    assert body == b"jpeg"


def test_an_answer_may_come_in_parts(over: Make, network: Network) -> None:
    network.parts = [bytes([byte]) for byte in ok(ANSWER)]
    assert over().predict("pets", b"jpeg").version == 2


def test_one_connection_serves_one_request_after_the_other(over: Make, network: Network) -> None:
    network.parts = [ok(LISTED), ok(LISTED)]
    client = over()
    assert [model.name for _ in range(2) for model in client.models()] == ["pets", "pets"]
    assert len(network.opened_to) == 1
    assert network.sent.count(b"GET /v1/models HTTP/1.1\r\n") == 2


def test_a_server_with_https_is_spoken_to_encrypted(over: Make, network: Network) -> None:
    network.parts = [ok(LISTED)]
    assert len(over("https://sightline.example").models()) == 1
    assert (network.opened_to, network.handshakes) == ([("sightline.example", 443)], 1)


def test_a_proxy_gets_the_whole_address_and_its_password(over: Make, network: Network) -> None:
    network.parts = [ok(LISTED)]
    assert len(over(proxy="http://me:secret@p:3128").models()) == 1
    assert (network.opened_to, network.handshakes) == ([("p", 3128)], 0)
    assert network.sent.startswith(b"GET http://sightline:3000/v1/models HTTP/1.1\r\n")
    assert SECRET in network.sent


@pytest.mark.parametrize(("scheme", "handshakes"), [("http", 1), ("https", 2)])
def test_a_proxy_opens_a_tunnel_to_a_server_with_https_which_never_sees_the_password(
    over: Make, network: Network, scheme: str, handshakes: int
) -> None:
    network.parts = [ESTABLISHED, ok(LISTED)]
    assert len(over("https://sightline.example", proxy=f"{scheme}://me:secret@p:3128").models()) == 1
    assert (network.opened_to, network.handshakes) == ([("p", 3128)], handshakes)
    to_the_proxy, _, to_the_server = bytes(network.sent).partition(b"\r\n\r\n")
    assert to_the_proxy.startswith(b"CONNECT sightline.example:443 HTTP/1.1\r\n")
    assert SECRET.strip() in to_the_proxy
    assert to_the_server.startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert SECRET not in to_the_server


@pytest.mark.parametrize("kind", [Client, Driven])
def test_closing_the_client_closes_its_connection(network: Network, kind: type[Client] | type[Driven]) -> None:
    network.parts = [ok(LISTED)]
    client = kind(URL, trust_env=False)
    client.models()
    assert not network.was_closed.is_set()
    client.close()
    assert network.was_closed.is_set()


def test_an_answer_that_is_not_http_is_an_error_of_ours(over: Make, network: Network) -> None:
    network.parts = [b"220 mail.example ESMTP\r\n\r\n"]
    with pytest.raises(Exception, match=URL) as failed:
        over(retries=0).predict("pets", b"jpeg")
    assert type(failed.value).__module__ == "service.client.errors"
