"""Keys of one run: only who holds them can talk to the scheduler and the workers of an embedded cluster."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed.security import Security

LIFETIME = timedelta(days=365)
SERVER_NAME = "outgrad-run"


class KeysInMemory(Security):
    """Certificate and key as text, which never touch a disk.

    OpenSSL reads them from files alone, and distributed writes some for that moment: a process that is killed
    then would leave them. A file in memory has no name, and ends with its process.
    """

    def _get_tls_context(self, tls: Mapping[str, Any], purpose: ssl.Purpose) -> ssl.SSLContext:
        if not hasattr(os, "memfd_create"):
            return self._from_files(tls, purpose)
        with _file_in_memory(tls["cert"] + tls["key"]) as path:
            return self._from_files({**tls, "cert": path, "key": path}, purpose)

    def _from_files(self, tls: Mapping[str, Any], purpose: ssl.Purpose) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_tls_context(tls, purpose)  # type: ignore[no-untyped-call]
        return context


def keys_of_a_run() -> Security:
    """Make a key and a certificate that vouches for itself alone; whoever has both belongs to the run."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    certificate = _certificate(key).public_bytes(serialization.Encoding.PEM).decode()
    roles = ("client", "scheduler", "worker")
    return KeysInMemory(  # type: ignore[no-untyped-call]
        require_encryption=True,
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        tls_ca_file=certificate,
        **{f"tls_{role}_key": private for role in roles},
        **{f"tls_{role}_cert": certificate for role in roles},
    )


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    now = datetime.now(tz=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .sign(key, hashes.SHA256())
    )


@contextmanager
def _file_in_memory(text: str) -> Iterator[str]:
    descriptor = os.memfd_create("outgrad-keys", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
