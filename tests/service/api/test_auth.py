from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from service.api.auth import Access, check_address, is_loopback, is_private, read_keys
from service.errors import HostNotAllowed, SettingsError, Unauthorized
from service.settings import Settings

OLD, NEW = "a-key-of-last-year", "a-key-of-this-year"
PREDICT = "/v1/models/cat/predict"


def access(settings: Settings = Settings(), *addresses: str) -> Access:
    return Access(settings, lambda: addresses)


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {key}".encode())]


def basic(user: str, password: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Basic " + base64.b64encode(f"{user}:{password}".encode()))]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_on_loopback_nobody_needs_a_key(address: str) -> None:
    access(Settings(), address).check(PREDICT, [])


@pytest.mark.parametrize(
    "addresses",
    [("0.0.0.0",), ("::",), ("10.0.0.1",), ("127.0.0.1", "10.0.0.1"), ("",), ()],  # noqa: S104
    ids=["every IPv4", "every IPv6", "one", "one of two", "no IP address", "unknown"],
)
def test_anywhere_else_nobody_is_answered_without_keys(addresses: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized, match="SIGHTLINE_API_KEYS_FILE"):
        access(Settings(), *addresses).check(PREDICT, [])


def test_anonymous_callers_may_be_allowed() -> None:
    access(Settings(allow_anonymous=True), "10.0.0.1").check(PREDICT, [])


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_key(path: str) -> None:
    access(Settings(api_keys=(OLD,)), "10.0.0.1").check(path, [])


@pytest.mark.parametrize("path", ["/livez/", "/livez/../v1/models", "//livez", "/LIVEZ"])
def test_what_only_looks_like_a_probe_needs_a_key(path: str) -> None:
    with pytest.raises(Unauthorized):
        access(Settings(api_keys=(OLD,)), "10.0.0.1").check(path, [])


@pytest.mark.parametrize("path", ["/", "/web/page.html", "/web/page.css", "/docs", "/docs/page.js"])
def test_the_page_and_its_files_need_no_key_so_that_it_can_ask_for_one(path: str) -> None:
    access(Settings(api_keys=(OLD,)), "10.0.0.1").check(path, [])


@pytest.mark.parametrize(
    "path", ["/web", "/web/", "/web/../v1/models", "/web/nothing.js", "//", "/docs/page.html", "/openapi.json", "/?"]
)
def test_what_only_looks_like_the_page_needs_a_key(path: str) -> None:
    with pytest.raises(Unauthorized):
        access(Settings(api_keys=(OLD,)), "10.0.0.1").check(path, [])


def test_metrics_need_a_key_unless_opened() -> None:
    with pytest.raises(Unauthorized):
        access(Settings(api_keys=(OLD,))).check("/metrics", [])
    access(Settings(api_keys=(OLD,), open_metrics=True)).check("/metrics", [])


def test_keys_are_needed_on_loopback_too_once_they_are_set() -> None:
    with pytest.raises(Unauthorized, match="Bearer KEY"):
        access(Settings(api_keys=(OLD,)), "127.0.0.1").check(PREDICT, [])


@pytest.mark.parametrize("key", [OLD, NEW])
def test_each_of_several_keys_opens(key: str) -> None:
    both = access(Settings(api_keys=(OLD, NEW)))
    for headers in (bearer(key), basic("", key), basic("me", key), basic(key, "")):
        both.check(PREDICT, headers)


@pytest.mark.parametrize(
    "headers",
    [
        bearer("another-key-altogether"),
        bearer(""),
        bearer(OLD[:-1]),
        bearer(OLD) * 2,
        [(b"authorization", OLD.encode())],
        [(b"authorization", b"Basic not-base64!")],
        [(b"authorization", b"Basic " + base64.b64encode(b"\xff\xfe:\xff"))],
        [(b"authorization", b"\xff\xfe\x00")],
        [(b"authorization", b"")],
        [(b"x-api-key", OLD.encode())],
    ],
    ids=["wrong", "empty", "a part", "twice", "no scheme", "no base64", "no text", "bytes", "nothing", "elsewhere"],
)
def test_anything_else_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized):
        access(Settings(api_keys=(OLD, NEW))).check(PREDICT, headers)


def test_a_file_may_hold_keys_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# since May\n{NEW}\n\n  {OLD}  \n")
    assert read_keys(Settings(api_keys_file=str(file))) == (NEW, OLD)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Settings(api_keys=("short",)), "16 or more"),
        (Settings(api_keys=("a key with spaces in it",)), "16 or more"),
        (Settings(api_keys=("clé-clé-clé-clé-clé",)), "16 or more"),
        (Settings(api_keys_file="/nowhere/keys"), "cannot be read"),
        (Settings(api_keys_file="/dev/null"), "there is no key in"),
        (Settings(api_keys=(OLD,), allow_anonymous=True), "one or the other"),
    ],
    ids=["short", "spaces", "not ASCII", "no file", "empty file", "keys that mean nothing"],
)
def test_settings_that_would_protect_nobody_stop_the_start(settings: Settings, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as error:
        read_keys(settings)
    assert not any(key in str(error.value) for key in settings.api_keys)


def test_a_key_is_not_shown_with_the_settings() -> None:
    assert OLD not in repr(Settings(api_keys=(OLD,)))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "", "nonsense"])  # noqa: S104
def test_a_server_that_would_refuse_everybody_is_not_started(host: str) -> None:
    with pytest.raises(SettingsError, match="can be reached from other machines"):
        check_address(Settings(), host)
    check_address(Settings(api_keys=(OLD,)), host)
    check_address(Settings(allow_anonymous=True), host)


def test_loopback_is_always_fine() -> None:
    check_address(Settings(), "127.0.0.1")
    check_address(Settings(), "localhost")
    assert not is_loopback("127.0.0.1.example.org")


def test_private_means_loopback_alone_and_at_least_that() -> None:
    assert is_private(["127.0.0.1", "::1"])
    assert not is_private(["127.0.0.1", "192.168.0.7"])
    assert not is_private([])


def test_a_byte_order_mark_in_the_file_is_no_part_of_a_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbfa-key-of-this-year\r\n")
    assert read_keys(Settings(api_keys_file=str(tmp_path / "keys"))) == ("a-key-of-this-year",)


def named(host: str) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), (b"host", host.encode())]


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1:3000", "::1", "localhost:x", ""])
def test_on_loopback_without_keys_only_its_own_names_are_answered(host: str) -> None:
    with pytest.raises(HostNotAllowed, match="SIGHTLINE_ALLOWED_HOSTS"):
        access(Settings(), "127.0.0.1").check(PREDICT, named(host))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3000", "127.0.0.1", "127.0.0.1:80", "[::1]:8080", "127.8.8.8"]
)
def test_the_names_of_loopback_and_the_servers_own_address_are_answered(host: str) -> None:
    access(Settings(), "127.8.8.8").check(PREDICT, named(host))


def test_probes_are_answered_as_any_host() -> None:
    access(Settings(), "127.0.0.1").check("/livez", named("10.0.0.1:3000"))


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        (Settings(allow_anonymous=True), "10.0.0.1"),
        (Settings(api_keys=(OLD,)), "127.0.0.1"),
        (Settings(allowed_hosts=("*",)), "127.0.0.1"),
    ],
    ids=["on every address", "with keys", "with a star"],
)
def test_elsewhere_any_host_is_answered(settings: Settings, address: str) -> None:
    access(settings, address).check(PREDICT, [*bearer(OLD), *named("sightline.example:443")])


def test_the_hosts_that_are_set_replace_the_default() -> None:
    ours = access(Settings(allowed_hosts=("Sightline.example", "[fe80::1]"), api_keys=(OLD,)), "127.0.0.1")
    for host in ("sightline.example", "SIGHTLINE.EXAMPLE:443", "[FE80::1]:3000"):
        ours.check(PREDICT, [*bearer(OLD), *named(host)])
    with pytest.raises(HostNotAllowed):
        ours.check(PREDICT, [*bearer(OLD), *named("localhost")])


class Rotated(NamedTuple):
    """What asks for a key of a file, that file, a path that wants such a key, and how the file is read anew."""

    guarded: Access
    file: Path
    path: str
    read_again: Callable[[], None]


@pytest.fixture(params=["everybody's", "admins'"])
def rotated(request: pytest.FixtureRequest, tmp_path: Path) -> Rotated:
    file = tmp_path / "keys"
    file.write_text(OLD)
    if request.param == "admins'":
        guarded = access(Settings(admin_keys_file=str(file)), "127.0.0.1")
        return Rotated(guarded, file, "/v1/admin/reload", guarded.read_admin_keys_again)
    guarded = access(Settings(api_keys_file=str(file)), "10.0.0.1")
    return Rotated(guarded, file, PREDICT, guarded.read_keys_again)


def test_keys_that_are_replaced_in_the_file_are_the_valid_ones_once_it_is_read_anew(
    rotated: Rotated, caplog: pytest.LogCaptureFixture
) -> None:
    guarded, file, path, read_again = rotated
    file.write_text(f"{OLD}\n{NEW}\n")
    with caplog.at_level(logging.INFO, "service"):
        read_again()
    for key in (OLD, NEW):
        guarded.check(path, bearer(key))
    file.write_text(NEW)
    read_again()
    guarded.check(path, bearer(NEW))
    with pytest.raises(Unauthorized):
        guarded.check(path, bearer(OLD))
    assert "2 are valid, 1 added, 0 removed" in caplog.text
    assert NEW not in caplog.text


@pytest.mark.parametrize("text", ["", "# none yet\n", "short", f"{NEW}\nwith a space in it\n", None])
def test_where_the_new_file_cannot_be_used_the_keys_before_stay_and_the_log_says_why(
    rotated: Rotated, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    guarded, file, path, read_again = rotated
    file.unlink() if text is None else file.write_text(text)
    read_again()
    guarded.check(path, bearer(OLD))
    for headers in ([], bearer(NEW)):
        with pytest.raises(Unauthorized):
            guarded.check(path, headers)
    assert "keys before stay in use" in caplog.text
