"""Proxies and certificates of arguments and of the environment."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import httpx
import pytest

from service.client import AsyncClient, Client, ClientError, Misconfigured
from service.client.transport.routes import is_exempt, is_this_machine, route_to

SERVER = "http://sightline.example:3000"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
NO_ADDRESSES = ["http://x:99999", "http://x:0", "http://" + "a" * 70, "http://[::1", "http://a b", "http://\ud800"]
NO_PROXIES = ["http://", "ftp://p", "http://p:99999", "http://p:x", "http://[::1", "http://a b", "::"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """None of the variables is set, unless a test does."""
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "SSLKEYLOGFILE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.fixture(params=[Client, AsyncClient])
def kind(request: pytest.FixtureRequest) -> type[Client] | type[AsyncClient]:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("server", "variables", "via"),
    [
        (SERVER, {}, ""),
        (SERVER, {"HTTP_PROXY": "http://p:1"}, "the proxy http://p:1 of HTTP_PROXY"),
        (SERVER, {"http_proxy": "http://p:1", "HTTP_PROXY": "http://q:2"}, "the proxy http://p:1 of http_proxy"),
        (SERVER, {"HTTP_PROXY": "p:1"}, "the proxy http://p:1 of HTTP_PROXY"),
        (SERVER, {"HTTPS_PROXY": "http://p:1"}, ""),
        (SERVER, {"ALL_PROXY": "http://p:1"}, "the proxy http://p:1 of ALL_PROXY"),
        (SERVER, {"ALL_PROXY": "http://p:1", "HTTP_PROXY": "http://q:2"}, "the proxy http://q:2 of HTTP_PROXY"),
        (SERVER, {"HTTP_PROXY": "http://me:secret@p:1"}, "the proxy http://p:1 of HTTP_PROXY"),
        (SERVER, {"HTTP_PROXY": "http://p:1", "NO_PROXY": "sightline.example"}, ""),
        (SERVER, {"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, ""),
        (SERVER, {"HTTP_PROXY": "http://p:1", "NO_PROXY": "fd00::/8,10.0.0.0/8"}, "the proxy http://p:1 of HTTP_PROXY"),
        ("http://[fd00::7]:3000", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, ""),
        ("https://sightline.example", {"HTTPS_PROXY": "http://p:1"}, "the proxy http://p:1 of HTTPS_PROXY"),
        ("http://localhost:3000", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://127.0.0.1:3000", {"ALL_PROXY": "no address at all"}, ""),
    ],
)
def test_the_environment_names_the_proxy(
    environment: pytest.MonkeyPatch, server: str, variables: dict[str, str], via: str
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert route_to(server, None, trust_env=True).via == via
    assert route_to(server, None, trust_env=False).via == ""


def test_the_argument_goes_before_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", "http://q:2")
    environment.setenv("NO_PROXY", "*")
    for trust_env in (True, False):
        assert route_to(SERVER, "http://p:1", trust_env).via == "the proxy http://p:1 of the argument proxy"


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost.", "app.localhost", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"],  # noqa: S104
)
def test_this_machine_is_known_by_its_names_and_addresses(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["sightline", "localhost.example", "10.0.0.1", "128.0.0.1", "fd00::1", "notlocalhost"])
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not is_this_machine(host)


@pytest.mark.parametrize(
    ("host", "entry", "exempt"),
    [
        ("a.example", "example", True),
        ("a.example", ".example", True),
        ("a.example", "*.example", True),
        ("a.example", "A.EXAMPLE", True),
        ("a.example", "b.example, a.example", True),
        ("a.example", "b.example a.example", True),
        ("nota.example", "a.example", False),
        ("a.example", "", False),
        ("a.example", ".", False),
        ("a.example", "a.example:3000", True),
        ("a.example", "a.example:80", False),
        ("a.example", "http://a.example", True),
        ("a.example", "https://a.example", False),
        ("a.example", "all://a.example/", True),
        ("a.example", "10.0.0.0/8", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.9/16", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "fd00::/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("[fd00::7]", "fd00::/8", True),
        ("[fd00::7]", "[fd00::]/8", True),
        ("[fd00::7]", "fd00::7", True),
        ("[fd00::7]", "[fd00::7]:3000", True),
        ("[fe80::7]", "fd00::/8", False),
    ],
)
def test_no_proxy_excepts_names_addresses_and_networks(host: str, entry: str, exempt: bool) -> None:
    assert is_exempt(httpx.URL(f"http://{host}:3000"), entry) is exempt


@pytest.mark.parametrize("proxy", ["socks5://p:1", "socks5h://p:1"])
def test_a_socks_proxy_without_its_library_names_the_variable_and_the_cure(
    environment: pytest.MonkeyPatch, kind: type[Client], proxy: str
) -> None:
    if importlib.util.find_spec("socksio"):
        pytest.skip("socksio is there")
    environment.setenv("ALL_PROXY", proxy)
    with pytest.raises(Misconfigured, match=r"ALL_PROXY names a SOCKS proxy, socks5.*pip install 'httpx\[socks\]'"):
        kind(SERVER)
    with pytest.raises(Misconfigured, match="the argument proxy"):
        kind(SERVER, proxy=proxy, trust_env=False)
    kind(SERVER, trust_env=False)
    kind("http://localhost:3000")


@pytest.mark.parametrize(
    "proxy", ["http://", "ftp://p", "http://p:99999", "http://p:x", "http://[::1", "http://a b", "::"]
)
def test_what_is_no_proxy_is_refused_by_the_name_of_its_variable(
    environment: pytest.MonkeyPatch, kind: type[Client], proxy: str
) -> None:
    environment.setenv("http_proxy", proxy)
    with pytest.raises(Misconfigured, match=r"http_proxy names a proxy which is none.*expected an address such as"):
        kind(SERVER)
    with pytest.raises(Misconfigured, match="the argument proxy names"):
        kind(SERVER, proxy=proxy)


def test_a_network_of_no_proxy_that_is_none_is_named(environment: pytest.MonkeyPatch, kind: type[Client]) -> None:
    environment.setenv("HTTP_PROXY", "http://p:1")
    environment.setenv("NO_PROXY", "10.0.0.0/99")
    with pytest.raises(Misconfigured, match=r"NO_PROXY has the entry '10.0.0.0/99'; expected"):
        kind(SERVER)
    kind(SERVER, trust_env=False)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"])
def test_files_of_certificates_that_are_missing_are_named_by_their_variable(
    environment: pytest.MonkeyPatch, kind: type[Client], name: str, tmp_path: Path
) -> None:
    environment.setenv(name, str(tmp_path / "missing" / "file"))
    with pytest.raises(Misconfigured, match=rf"{name}='.*missing/file'.*mend or unset it"):
        kind("https://sightline.example")
    kind("http://sightline.example")
    if name != "SSLKEYLOGFILE":  # which Python's own ssl reads, whoever asks
        kind("https://sightline.example", trust_env=False)


def test_a_file_without_certificates_is_named(
    environment: pytest.MonkeyPatch, kind: type[Client], tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    environment.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    with pytest.raises(Misconfigured, match=r"SSL_CERT_FILE='.*empty\.pem' cannot be read"):
        kind("https://sightline.example")


@pytest.mark.parametrize(
    "address",
    [
        "http://x:99999",
        "http://x:0",
        "http://" + "a" * 70,
        "http://[::1",
        "http://a b",
        "http://\ud800",
        "x" * 70_000,
        7,
    ],
    ids=lambda address: str(address).encode("ascii", "replace")[:20],
)
def test_an_address_that_is_none_is_of_the_tree_and_a_value_error(kind: type[Client], address: str) -> None:
    with pytest.raises(ClientError, match="expected the address of a server, such as http://127") as refused:
        kind(address)
    assert isinstance(refused.value, ValueError)
    assert len(str(refused.value)) < 500


def test_a_user_of_the_address_is_asked_with_his_password() -> None:
    seen: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200)

    with Client("http://me:s%40@sightline", transport=httpx.MockTransport(note)) as client:
        assert client.ready()
    assert seen == ["Basic bWU6c0A="]
