"""TLS: the certificate and the key of the settings, which may be replaced while the server runs."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from service.errors import SettingsError
from service.settings import PREFIX, Settings
from service.surroundings.file_watch import LOOK_EVERY_S, watch

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """Raise SettingsError where the settings name a certificate and a key that cannot be used."""
    if settings.tls_cert:
        context_of(settings)


def context_of(settings: Settings) -> ssl.SSLContext:
    """The rules of connections by TLS, with the certificate and the key. Raises SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, settings)
    return context


async def renew(context: ssl.SSLContext, settings: Settings, every_s: float = LOOK_EVERY_S) -> None:
    """As long as this runs, have new connections of `context` use the certificate and key as they are replaced.

    What cannot be used is named in the log, and the ones before stay.
    """

    def load_again() -> None:
        try:
            context_of(settings)  # a look first, for a failure would leave the context with half of it
            _load(context, settings)
        except SettingsError as error:
            log.error("%s; the certificate before stays in use", error)
        else:
            log.info("TLS: the certificate %s was read anew", settings.tls_cert)

    await watch((Path(settings.tls_cert), Path(settings.tls_key)), load_again, every_s)


def _load(context: ssl.SSLContext, settings: Settings) -> None:
    def password() -> str:
        raise SettingsError(f"{PREFIX}TLS_KEY={settings.tls_key} wants a password; expected a key without one")

    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        names = f"{PREFIX}TLS_CERT={settings.tls_cert} and {PREFIX}TLS_KEY={settings.tls_key}"
        raise SettingsError(
            f"{names} cannot be used ({_said(error)}); expected a certificate chain and its key, in PEM"
        ) from error


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error)
