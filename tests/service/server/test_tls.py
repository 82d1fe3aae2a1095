"""`service.server.tls`, with handshakes in memory."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.server.tls import check, context_of, renew
from service.settings import Settings
from tests.certificates import needs_openssl, write_certificate

pytestmark = [pytest.mark.anyio, needs_openssl]

EVERY_S = 0.01


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    certificate, key = write_certificate(tmp_path, "first")
    return Settings(tls_cert=str(certificate), tls_key=str(key))


def served_name(context: ssl.SSLContext, trusted: str) -> str:
    """The subject of the certificate that a server shows a caller who trusts it."""
    to_server, to_caller = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_caller, server_side=True)
    caller = ssl.create_default_context(cafile=trusted).wrap_bio(to_caller, to_server, server_hostname="localhost")
    for end in (caller, server, caller, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = caller.getpeercert()
    assert shown is not None
    return str(dict(part[0] for part in shown["subject"])["commonName"])  # type: ignore[index,misc]


async def until(condition: object, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 (files have no events)
            await asyncio.sleep(EVERY_S)


async def test_the_certificate_of_the_settings_is_shown(settings: Settings) -> None:
    context = context_of(settings)
    assert served_name(context, settings.tls_cert) == "first"
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_a_certificate_that_is_replaced_is_shown_from_then_on(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    context = context_of(settings)
    with caplog.at_level(logging.INFO, "service"):
        renewing = asyncio.create_task(renew(context, settings, EVERY_S))
        await asyncio.sleep(5 * EVERY_S)
        await asyncio.to_thread(write_certificate, Path(settings.tls_cert).parent, "second")
        await until(lambda: "was read anew" in caplog.text)
        renewing.cancel()
    assert served_name(context, settings.tls_cert) == "second"


async def test_where_the_new_one_cannot_be_used_the_one_before_stays(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = context_of(settings)
    before = shutil.copy(settings.tls_cert, tmp_path / "before.crt")
    renewing = asyncio.create_task(renew(context, settings, EVERY_S))
    await asyncio.sleep(5 * EVERY_S)
    other, _ = await asyncio.to_thread(write_certificate, tmp_path / "other", "without its key")
    other.replace(settings.tls_cert)
    await until(lambda: "the certificate before stays in use" in caplog.text)
    renewing.cancel()
    assert served_name(context, str(before)) == "first"


@pytest.mark.parametrize("file", ["tls.crt", "tls.key"])
@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "of another kind"])
async def test_files_that_cannot_be_used_stop_the_start_and_are_named(
    settings: Settings, tmp_path: Path, file: str, content: bytes | None
) -> None:
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(SettingsError, match=r"SIGHTLINE_TLS_CERT=.*tls\.crt and SIGHTLINE_TLS_KEY=.*cannot be used"):
        check(settings)


async def test_a_key_with_a_password_is_not_asked_for_but_refused(settings: Settings, tmp_path: Path) -> None:
    key = tmp_path / "tls.key"
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "pkey", "-in", key, "-aes128", "-passout", "pass:secret", "-out", encrypted]
    done = await asyncio.create_subprocess_exec(*map(str, command))
    assert await done.wait() == 0
    encrypted.replace(key)
    with pytest.raises(SettingsError, match="wants a password"):
        check(settings)


async def test_without_tls_there_is_nothing_to_check() -> None:
    check(Settings())
