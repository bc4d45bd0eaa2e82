"""The certificate of a gateway: signed by an authority of the home's own, which other hosts are given with their key.

The authority is made once and is what others pin; the gateway's certificate is made anew at each start, for the names
and addresses the host has then. `cryptography` is imported only here and where something is signed.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from fetchml import durable
from fetchml.errors import Corrupt

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_AUTHORITY_FOR = timedelta(days=20 * 365)
_SERVER_FOR = timedelta(days=800)
"""As long as a gateway may go on without a start; Apple's limit for private authorities is 825 days."""
_BEFORE = timedelta(days=2)
"""Clocks of a lab differ."""


class Authority:
    """The authority of a home folder.

    Args:
        folder: `<home>/gateway`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "ca.pem"
        self._key_file = folder / "ca-key.pem"
        self._server = folder / "server.pem"

    def certificate(self) -> str:
        """Returns the authority's own certificate, which is made if there is none."""
        self._make()
        return self.file.read_text("ascii")

    def issue(self, names: Iterable[str]) -> Path:
        """Makes a certificate for names and addresses; returns the file with it, its key, and the authority's.

        Raises:
            Corrupt: The authority's files are damaged.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self._make()
        try:
            authority = x509.load_pem_x509_certificate(self.file.read_bytes())
            loaded = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        except ValueError as error:
            summary = f"`{self.file}` or its key is damaged"
            raise Corrupt(summary, detail=str(error), code="authority-damaged") from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != authority.public_key():
            raise Corrupt(f"`{self._key_file}` is not the key of `{self.file}`", code="authority-damaged")
        key = ec.generate_private_key(ec.SECP256R1())
        made = _built("fetchml gateway", key.public_key(), _SERVER_FOR, authority.subject, loaded, tuple(names))
        content = _pem(made) + _private_pem(key) + _pem(authority)
        durable.write_atomic(self._server, content, mode=0o600)
        return self._server

    def _make(self) -> None:
        """Makes the authority unless there is one; the key first, so that a certificate always has its own."""
        durable.make_folder(self._folder, mode=0o700)
        with durable.locked(self._folder):
            if durable.exists(self.file):
                return
            from cryptography import x509
            from cryptography.hazmat.primitives.asymmetric import ec

            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fetchml lab")])
            durable.write_atomic(self._key_file, _private_pem(key), mode=0o600)
            made = _built("fetchml lab", key.public_key(), _AUTHORITY_FOR, name, key, None)
            durable.write_atomic(self.file, _pem(made))


def _built(
    subject: str,
    public_key: "ec.EllipticCurvePublicKey",
    valid: timedelta,
    issuer: "x509.Name",
    signer: "ec.EllipticCurvePrivateKey",
    names: tuple[str, ...] | None,
) -> "x509.Certificate":
    """Returns a certificate: of a server for names, of the authority for None."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    now = datetime.now(UTC)
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    is_authority = names is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + valid)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if names is not None:
        general = x509.SubjectAlternativeName([_general(name) for name in dict.fromkeys(names)])
        builder = builder.add_extension(general, critical=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    return builder.sign(signer, hashes.SHA256())


def _general(name: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: "ec.EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def own_names(also: Iterable[str] = ()) -> tuple[str, ...]:
    """Returns the names and addresses of this host, for its certificate.

    Args:
        also: Others that it is reached by.
    """
    import socket

    import psutil

    found = ["localhost", "127.0.0.1", "::1", os.uname().nodename, socket.getfqdn(), *also]
    for addresses in psutil.net_if_addrs().values():
        found += [item.address for item in addresses if item.family in (socket.AF_INET, socket.AF_INET6)]
    return tuple(name for name in dict.fromkeys(found) if name and "%" not in name and name.isascii())
