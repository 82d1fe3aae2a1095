"""Who may ask, and as which host the server answers.

Keys are compared in constant time; without keys the server answers on loopback only, unless allowed to.

An operator should be able to trust this whatever way the server was started. So there are two looks at the address:
the supervisor's, which refuses to start with one line, and the worker's at the socket that it was really given. Where
a worker finds no socket of its own, it takes the address for a public one.

A web page can give its own name the address 127.0.0.1 (DNS rebinding). A browser then asks our server as that name. The
Host header gives it away.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from service.api.browsers.page import PATHS as PAGE
from service.api.openapi.page import PATHS as REFERENCE
from service.errors import HostNotAllowed, SettingsError, Unauthorized
from service.settings import PREFIX, Settings

log = logging.getLogger(__name__)

PROBES = frozenset({"/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"})
METRICS = "/metrics"
ADMIN = "/v1/admin/"

MIN_KEY_LENGTH = 16  # characters; `openssl rand -hex 16` gives 32

LOOPBACK_HOSTS = frozenset((b"localhost", b"127.0.0.1", b"[::1]"))
ANY_HOST = "*"

_REMEDY = f"set {PREFIX}API_KEYS_FILE or {PREFIX}API_KEYS, or {PREFIX}ALLOW_ANONYMOUS=true to answer everybody"


class Access:
    """Decides for one request at a time. `addresses` gives the IP addresses that the server can be reached at."""

    def __init__(self, settings: Settings, addresses: Callable[[], Iterable[str]]) -> None:
        self._settings = settings
        self._digests = [_digest(key) for key in read_keys(settings)]
        self._admin_digests = [_digest(key) for key in read_admin_keys(settings)]
        self._open_paths = PROBES | PAGE | REFERENCE | ({METRICS} if settings.open_metrics else set())
        self._allow_anonymous = settings.allow_anonymous
        self._allowed_hosts = settings.allowed_hosts
        self._addresses = addresses

    @cached_property
    def is_open(self) -> bool:
        """Whether nobody needs a key. Looked up with the first request, when the server certainly has its socket."""
        return not self._digests and (self._allow_anonymous or is_private(self._addresses()))

    @cached_property
    def hosts(self) -> frozenset[bytes] | None:
        """What a Host header may have before its port, in lower case; None for anything."""
        if self._allowed_hosts:
            allowed = frozenset(host.lower().encode() for host in self._allowed_hosts)
            return None if ANY_HOST in self._allowed_hosts else allowed
        addresses = tuple(self._addresses())
        if self._digests or not is_private(addresses):
            return None
        return LOOPBACK_HOSTS | {(f"[{one}]" if ":" in one else one).encode() for one in addresses}

    def read_keys_again(self) -> None:
        """Take the keys that the file has now. Where it cannot be used, the keys before stay, and the log says why."""
        self._digests = self._read_again("API keys", read_keys, self._digests)

    def read_admin_keys_again(self) -> None:
        """The same with the file of keys for admins."""
        self._admin_digests = self._read_again("admin keys", read_admin_keys, self._admin_digests)

    def _read_again(self, kind: str, read: Callable[[Settings], Iterable[str]], before: list[bytes]) -> list[bytes]:
        try:
            digests = [_digest(key) for key in read(self._settings)]
        except SettingsError as error:
            log.error("%s; the %s before stay in use", error, kind)
            return before
        added, removed = len(set(digests) - set(before)), len(set(before) - set(digests))
        log.info("%s read anew: %d are valid, %d added, %d removed", kind, len(digests), added, removed)
        return digests

    def check(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Raise HostNotAllowed or Unauthorized unless this path is open, or the ASGI headers show host and key."""
        self.check_host(path, headers)
        if path.startswith(ADMIN):
            _check_key(headers, self._admin_digests, "an admin key")
            return
        if self.is_open or path in self._open_paths:
            return
        if not self._digests:
            raise Unauthorized(f"this server has no API keys and can be reached from other machines; {_REMEDY}")
        _check_key(headers, self._digests, "an API key")

    def check_host(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise HostNotAllowed where the ASGI headers name another host. A probe may name any."""
        hosts = self.hosts
        if hosts is None or path in PROBES:
            return
        for name, value in headers:
            if name == b"host" and host_without_port(value) not in hosts:
                shown = value[:100].decode("latin-1")
                raise HostNotAllowed(f"this server does not answer as {shown!r}; {PREFIX}ALLOWED_HOSTS names its hosts")


def _check_key(headers: Iterable[tuple[bytes, bytes]], digests: Sequence[bytes], kind: str) -> None:
    """Raise Unauthorized unless the ASGI headers show one of the keys."""
    shown = [value for name, value in headers if name == b"authorization"]
    if len(shown) != 1 or (key := _key(shown[0])) is None:
        raise Unauthorized(f"send {kind}: the header `Authorization: Bearer KEY`, or curl -u :KEY")
    digest = _digest(key)
    if not sum(hmac.compare_digest(digest, known) for known in digests):  # a sum looks at every key
        is_bearer = shown[0][:6].lower() == b"bearer"
        raise Unauthorized(f"this is not {kind} of the server's", shown_as_bearer=is_bearer)


def host_without_port(host: bytes) -> bytes:
    """The name or address in a Host header, in lower case, IPv6 in brackets."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and (port.isdigit() or not port) else host).lower()


def check_address(settings: Settings, host: str) -> None:
    """Raise SettingsError where a server bound to `host` would have to refuse everybody."""
    if not read_keys(settings) and not settings.allow_anonymous and not is_loopback(host):
        raise SettingsError(
            f"{host} can be reached from other machines, and there are no API keys; {_REMEDY}, or bind 127.0.0.1"
        )


def read_keys(settings: Settings) -> tuple[str, ...]:
    """The keys of the environment and of the file. Raises SettingsError; a message never has a key in it."""
    keys = _checked((*settings.api_keys, *_keys_of_file("API_KEYS_FILE", settings.api_keys_file)))
    if settings.api_keys_file and not keys:
        raise SettingsError(f"{PREFIX}API_KEYS_FILE: there is no key in {settings.api_keys_file}")
    if keys and settings.allow_anonymous:
        raise SettingsError(f"{PREFIX}ALLOW_ANONYMOUS would make the API keys mean nothing; set one or the other")
    return keys


def read_admin_keys(settings: Settings) -> tuple[str, ...]:
    """The keys of the file for admins. Raises SettingsError as `read_keys` does."""
    keys = _checked(tuple(_keys_of_file("ADMIN_KEYS_FILE", settings.admin_keys_file)))
    if settings.admin_keys_file and not keys:
        raise SettingsError(f"{PREFIX}ADMIN_KEYS_FILE: there is no key in {settings.admin_keys_file}")
    return keys


def _checked(keys: tuple[str, ...]) -> tuple[str, ...]:
    for key in keys:
        if len(key) < MIN_KEY_LENGTH or not (key.isascii() and key.isprintable()) or " " in key:
            raise SettingsError(f"an API key is {MIN_KEY_LENGTH} or more visible ASCII characters; one of ours is not")
    return keys


def is_loopback(host: str) -> bool:
    """Whether an IP address, or the name `localhost`, can be reached from this machine only."""
    if host.lower() == "localhost":  # RFC 6761: it is nothing else
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(addresses: Iterable[str]) -> bool:
    """Whether these are addresses, at least one, and only this machine can reach them."""
    return all(known := [is_loopback(address) for address in addresses]) and bool(known)


def _keys_of_file(setting: str, path: str) -> list[str]:
    if not path:
        return []
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{PREFIX}{setting}={path} cannot be read ({error})") from error
    return [line for line in lines if line and not line.startswith("#")]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _key(authorization: bytes) -> str | None:
    """The key in an Authorization header: the Bearer token, or Basic's password (or its user, if it has only that)."""
    scheme, _, value = authorization.decode("latin-1").strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = binascii.a2b_base64(value.strip(), strict_mode=True).decode().partition(":")
    except ValueError:
        return None
    return password or user
