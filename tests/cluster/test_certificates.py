import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from cluster import certificates, credentials
from cluster.errors import BadOption


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    certificates.make_authority(tmp_path)
    return tmp_path


def test_an_authority_is_made_once_and_its_key_is_its_owners(authority: Path) -> None:
    key = (authority / certificates.AUTHORITY_KEY).read_bytes()

    assert certificates.make_authority(authority) == []
    assert (authority / certificates.AUTHORITY_KEY).read_bytes() == key
    assert (authority / certificates.AUTHORITY_KEY).stat().st_mode & 0o777 == 0o600


def test_a_certificate_is_signed_by_the_authority_and_names_this_machine(authority: Path) -> None:
    made = certificates.issue(authority, authority / "node", ["ray-head", "10.0.0.7"])

    checked = subprocess.run(
        [
            "openssl",
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-CAfile",
            made.authority,
            made.certificate,
        ],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.certificate, made.key)
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"ray-head", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"127.0.0.1", "127.0.0.17", "10.0.0.7"} <= addresses
    assert made.key.stat().st_mode & 0o777 == 0o600


def test_each_certificate_has_a_key_of_its_own(authority: Path) -> None:
    first, second = (certificates.issue(authority, authority / name).key.read_bytes() for name in "ab")

    assert first != second


def test_an_authority_whose_key_others_can_read_is_refused(authority: Path) -> None:
    (authority / certificates.AUTHORITY_KEY).chmod(0o644)

    with pytest.raises(BadOption, match="mode 0644"):
        certificates.issue(authority, authority / "node")


def test_a_folder_that_can_not_be_made_is_named(authority: Path) -> None:
    with pytest.raises(BadOption, match=r"tls_ca\.crt/node can not be made"):
        certificates.issue(authority, authority / certificates.AUTHORITY / "node")


def test_without_an_authority_the_message_says_what_makes_one(tmp_path: Path) -> None:
    credentials.initialise(tmp_path)

    with pytest.raises(BadOption, match="python -m cluster init"):
        certificates.issue(tmp_path / credentials.FOLDER, tmp_path / "node")
