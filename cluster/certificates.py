"""TLS for Ray's gRPC: an authority made once, and certificates that each node and each client makes from it.

Ray's processes reach each other by address, and each shows its certificate to the other; so a certificate names
the addresses of the machine it is made on, which are known only there. Whoever holds the authority's key can make
one: it is guarded as the token is.
"""

import datetime
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.credentials import read_secret, write_once
from cluster.errors import BadOption

AUTHORITY, AUTHORITY_KEY = "tls_ca.crt", "tls_ca.key"
AUTHORITY_DAYS, DAYS = 3650, 825
BOTH_SIDES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
LOOPBACK_ADDRESSES = 17  # 127.0.0.1 and those that nodes of a local cluster have

SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Certificate:
    """Files of one certificate."""

    certificate: Path
    key: Path
    authority: Path

    @property
    def environment(self) -> dict[str, str]:
        """With these a process of Ray's serves and connects by TLS only."""
        return {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(self.certificate),
            "RAY_TLS_SERVER_KEY": str(self.key),
            "RAY_TLS_CA_CERT": str(self.authority),
        }


def files_in(folder: Path, authority: Path) -> Certificate:
    """Where `issue` puts a certificate."""
    return Certificate(folder / "node.crt", folder / "node.key", authority / AUTHORITY)


def make_authority(folder: Path) -> list[Path]:
    """Make an authority in a folder unless one is there; returns the files made now."""
    if (folder / AUTHORITY).exists() and (folder / AUTHORITY_KEY).exists():
        return []
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("RMT Sweeps cluster authority")
    certificate = (
        _begun(name, name, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    for path in (folder / AUTHORITY, folder / AUTHORITY_KEY):
        path.unlink(missing_ok=True)  # one without the other is of no use
    write_once(folder / AUTHORITY_KEY, _pem(key))
    write_once(folder / AUTHORITY, certificate.public_bytes(serialization.Encoding.PEM).decode())
    return [folder / AUTHORITY_KEY, folder / AUTHORITY]


def issue(authority: Path, folder: Path, names: Sequence[str] = ()) -> Certificate:
    """Make a key and a certificate for this machine: its addresses, its name, and what else it is called.

    Args:
        authority: The folder with the authority's certificate and key.
        folder: Where the two files go; what is there is replaced.
        names: Further names or addresses by which this machine is reached.

    Raises:
        BadOption: The authority can not be read, others than its owner may read its key, or the folder can not
            be made.
    """
    signer = serialization.load_pem_private_key(read_secret(authority / AUTHORITY_KEY).encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise BadOption(f"{authority / AUTHORITY_KEY} is not a key that `python -m cluster init --tls` made")
    issuer = x509.load_pem_x509_certificate((authority / AUTHORITY).read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _begun(_name("RMT Sweeps node"), issuer.subject, key, DAYS)
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(BOTH_SIDES), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    made = files_in(folder, authority)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadOption(f"folder {folder} can not be made: {error.strerror}; give one that can be") from error
    for path in (made.certificate, made.key):
        path.unlink(missing_ok=True)
    write_once(made.key, _pem(key))
    write_once(made.certificate, certificate.public_bytes(serialization.Encoding.PEM).decode())
    return made


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks of nodes differ
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    own = {f"127.0.0.{index}" for index in range(1, 1 + LOOPBACK_ADDRESSES)}
    internet = (socket.AF_INET, socket.AF_INET6)
    for addresses in psutil.net_if_addrs().values():
        own |= {each.address.partition("%")[0] for each in addresses if each.family in internet}
    return [_alternative(name) for name in sorted({*own, *names, "localhost", socket.gethostname()})]


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
