"""Certificates for the tests' TLS, made by OpenSSL: an authority, and what it and nobody signs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.peers import run_tool

_DAYS = "2"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates for loopback; `certificate` is what others trust."""

    folder: Path
    certificate: Path
    key: Path

    def identity(self, name: str, *, address: str = "127.0.0.1") -> Identity:
        """Return a new certificate of `name` for `address`, signed by this authority."""
        request, certificate, key = (self.folder / f"{name}.{end}" for end in ("csr", "pem", "key"))
        extension = self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName=IP:{address}\n")
        _openssl("req", "-newkey", *_CURVE, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
            "-days", _DAYS, "-extfile", extension, "-out", certificate,
        )  # fmt: skip
        return Identity(certificate, key)


_CURVE = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def authority(folder: Path, name: str = "test-authority") -> Authority:
    """Make an authority whose files are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    _openssl(
        "req", "-x509", "-newkey", *_CURVE, "-nodes", "-days", _DAYS, "-subj", f"/CN={name}",
        "-keyout", key, "-out", certificate,
    )  # fmt: skip
    return Authority(folder, certificate, key)


def _openssl(*arguments: str | Path) -> None:
    run_tool("openssl", *arguments)
