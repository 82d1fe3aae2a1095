"""The way to a server: straight, or by a proxy that an argument or the environment names; and whom TLS trusts."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.request import getproxies

import httpx

from ..errors import Misconfigured

_SCHEMES = ("http", "https", "socks5", "socks5h")
_TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


@dataclass(frozen=True)
class Route:
    """How a server is reached. `named_by` says where the proxy comes from: a variable, or the argument."""

    proxy: httpx.Proxy | None = None
    named_by: str = ""
    tls: ssl.SSLContext | None = None

    @property
    def via(self) -> str:
        """The proxy in words, without its password; empty where there is none."""
        return f"the proxy {_shown(self.proxy.url)} of {self.named_by}" if self.proxy else ""


def route_to(server: str, proxy: str | None, trust_env: bool) -> Route:
    """How to reach a server by its address. This machine itself is never reached by a proxy.

    Raises Misconfigured, which names the argument or the variable that cannot be used.
    """
    url = httpx.URL(server)
    found, named_by = _proxy_of(url, proxy, trust_env)
    checked = _checked_proxy(found, named_by) if found else None
    encrypted = url.scheme == "https" or (checked is not None and checked.url.scheme == "https")
    context = tls(trust_env) if encrypted else None
    if checked is not None and checked.url.scheme == "https":
        checked = httpx.Proxy(checked.url, ssl_context=context, auth=checked.auth)
    return Route(checked, named_by if checked else "", context)


def tls(trust_env: bool) -> ssl.SSLContext:
    """The rules of encrypted connections. Raises Misconfigured for certificates that cannot be read."""
    return _tls(trust_env, *((os.environ.get(name) for name in _TLS_VARIABLES) if trust_env else ()))


@cache  # reading the root certificates takes long
def _tls(trust_env: bool, *files: str | None) -> ssl.SSLContext:
    given = {name: value for name, value in zip(_TLS_VARIABLES, files, strict=False) if value}
    folder = given.get("SSL_CERT_DIR")
    if folder and "SSL_CERT_FILE" not in given and not Path(folder).is_dir():
        raise Misconfigured(f"SSL_CERT_DIR={folder!r} is not a folder; expected one of certificates: mend or unset it")
    try:
        return httpx.create_ssl_context(trust_env=trust_env)
    except (OSError, ValueError) as error:
        names = ", ".join(f"{name}={value!r}" for name, value in given.items()) or "the certificates of certifi"
        raise Misconfigured(
            f"{names} cannot be read ({error}); expected files of certificates: mend or unset it"
        ) from error


def _proxy_of(url: httpx.URL, proxy: str | None, trust_env: bool) -> tuple[str, str]:
    """The address of the proxy, and what names it; empty for the straight way."""
    if is_this_machine(url.host):
        return "", ""
    if proxy is not None:
        return proxy, "the argument proxy"
    if not trust_env:
        return "", ""
    proxies = getproxies()
    for kind in (url.scheme, "all"):
        if proxies.get(kind):
            return ("", "") if is_exempt(url, proxies.get("no", "")) else (proxies[kind], _variable(kind, os.environ))
    return "", ""


def _variable(kind: str, environment: Mapping[str, str]) -> str:
    """The variable that names the proxy of http, https or all. Where there is none, the system's settings did."""
    names = (f"{kind}_proxy", f"{kind}_PROXY".upper())
    return next((name for name in names if environment.get(name)), f"the system's settings for {kind}")


def _checked_proxy(address: str, named_by: str) -> httpx.Proxy:
    try:
        checked = httpx.Proxy(address if "://" in address else f"http://{address}")
        usable = checked.url.scheme in _SCHEMES and checked.url.host and _port_is_one(checked.url.port)
        usable = usable and not _has_space(address)
    except Exception as error:  # of half a dozen kinds
        raise Misconfigured(_no_proxy(named_by, f"which is none ({error})")) from error
    if not usable:
        raise Misconfigured(_no_proxy(named_by, "which is none"))
    if checked.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise Misconfigured(
            f"{named_by} names a SOCKS proxy, {_shown(checked.url)}, for which socksio is missing; "
            f"pip install 'httpx[socks]', or go without by trust_env=False"
        )
    return checked


def _no_proxy(named_by: str, came: str) -> str:
    return f"{named_by} names a proxy {came}; expected an address such as http://proxy:3128: mend or unset it"


def _has_space(address: str) -> bool:
    return any(character.isspace() for character in address)


def _port_is_one(port: int | None) -> bool:
    return port is None or 0 < port < 65536


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine by its name or address."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    plain = getattr(address, "ipv4_mapped", None) or address
    return bool(plain.is_loopback or plain.is_unspecified)


def is_exempt(url: httpx.URL, no_proxy: str) -> bool:
    """Whether NO_PROXY excepts a server: by `*`, a name at or below which it is, its address or a network.

    Raises Misconfigured for a network that is none.
    """
    return any(_matches(url, entry) for entry in no_proxy.replace(",", " ").lower().split())


def _matches(url: httpx.URL, entry: str) -> bool:
    scheme, _, rest = entry.rpartition("://")
    if scheme and scheme not in ("all", url.scheme):
        return False
    if rest == "*":
        return True
    if "/" in rest.rstrip("/"):
        return _is_in(url.host, _network(rest))
    host, port = _host_and_port(rest.rstrip("/"))
    if port and port != str(url.port or {"http": 80, "https": 443}[url.scheme]):
        return False
    name = host.removeprefix("*").lstrip(".")
    return bool(name) and (url.host == name or url.host.endswith(f".{name}"))


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text.translate({ord("["): None, ord("]"): None}), strict=False)
    except ValueError as error:
        raise Misconfigured(
            f"NO_PROXY has the entry {text[:100]!r}; expected a name, an address or a network such as "
            f"fd00::/8 ({error})"
        ) from error


def _is_in(host: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(host) in network
    except ValueError:
        return False


def _host_and_port(entry: str) -> tuple[str, str]:
    """Of `name`, `name:80`, `[::1]:80` and the bare `::1`."""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, port.removeprefix(":")
    host, colon, port = entry.rpartition(":")
    return (host, port) if colon and ":" not in host else (entry, "")


def _shown(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"  # without a user name and password that the URL may have
