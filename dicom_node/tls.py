"""Connections secured as PS3.15 B.12 says (BCP 195, RFC 9325), both sides known by certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from dicom_node.settings import Settings
from dicom_node.settings_sections import Tls

# TLS 1.2 suites of RFC 9325 section 4.2; those of TLS 1.3 are all fit.
_SUITES = ":".join(
    f"ECDHE-{key}-AES{bits}" for bits in ("128-GCM-SHA256", "256-GCM-SHA384") for key in ("ECDSA", "RSA")
)


class TlsError(Exception):
    """The certificates cannot be used; the text names the key of the settings."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What connections are secured with, by who opens them; None where they are not."""

    listening: ssl.SSLContext | None = None
    calling: ssl.SSLContext | None = None

    @staticmethod
    def of(settings: Settings) -> Certificates:
        """Read the files that the settings name. Raises TlsError."""
        return Certificates(
            listening_context(settings.tls) if settings.node.tls else None,
            calling_context(settings.tls) if settings.uses_tls else None,
        )


def listening_context(tls: Tls) -> ssl.SSLContext:
    """Return what our listener secures connections with: clients must show a certificate that is trusted.

    Raises TlsError.
    """
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)


def calling_context(tls: Tls) -> ssl.SSLContext:
    """Return what our own calls are secured with: the peer's certificate must be trusted, and name its host.

    Raises TlsError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.verify_host
    return _loaded(context, tls)


def _loaded(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(tls.certificate, tls.private_key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError):
        raise TlsError(
            f"tls.certificate {tls.certificate} and tls.private_key {tls.private_key} cannot be used: "
            "both must be readable PEM files that belong together, the key without a password"
        ) from None
    try:
        context.load_verify_locations(tls.trusted)
    except (OSError, ssl.SSLError, ValueError):
        raise TlsError(
            f"tls.trusted {tls.trusted} cannot be used: it must be a readable PEM file of certificates"
        ) from None
    return context


def _no_password() -> str:
    # Without it, OpenSSL would ask for one on the terminal.
    raise ValueError("the key has a password")
