from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from remotejobs.errors import ConfigurationError
from remotejobs.model import SessionOption
from remotejobs.ports import Reply
from remotejobs.transport.tls import client_context
from tests.transport.loopback import run
from tests.transport.tls_host import CA, OTHER_CA, client_pair, post_to, server_context


def test_encrypted_key_is_refused_without_a_question(tmp_path: Path) -> None:
    option = client_pair(tmp_path)
    assert option.certificate_key_file is not None
    path = Path(option.certificate_key_file)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigurationError, match="is encrypted") as caught:
        client_context(option)
    assert str(path) in caught.value.message


# files


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    begun = tmp_path / "begun.pem"
    begun.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    for option, file in [
        (SessionOption(ca_file=str(tmp_path / "none.pem")), "none.pem"),
        (SessionOption(ca_file=str(junk)), "junk.pem"),
        (SessionOption(ca_file=str(begun)), "begun.pem"),
        (SessionOption(ca_file=str(tmp_path)), str(tmp_path)),
        (SessionOption(ca_path=str(tmp_path)), "begun.pem"),
        (SessionOption(ca_path=str(tmp_path / "none")), "none"),
        (SessionOption(ca_path=str(empty)), "empty"),
        (SessionOption(certificate_file=str(junk)), "junk.pem"),
        (SessionOption(certificate_file=str(tmp_path / "none.pem")), "none.pem"),
        (SessionOption(certificate_file=str(junk), certificate_key_file=str(begun)), "begun.pem"),
        (SessionOption(certificate_key_file=str(junk)), "CertificateKeyFile"),
    ]:
        with pytest.raises(ConfigurationError) as caught:
            client_context(option)
        assert file in caught.value.message


def test_folder_of_issuers_in_pem_and_der(tmp_path: Path) -> None:
    OTHER_CA.cert_pem.write_to_path(str(tmp_path / "other.crt"))
    (tmp_path / "ca.cer").write_bytes(ssl.PEM_cert_to_DER_cert(CA.cert_pem.bytes().decode()))
    (tmp_path / "README.txt").write_text("not a certificate")
    option = SessionOption(ca_path=str(tmp_path))
    for ca in (CA, OTHER_CA):
        assert run(post_to(server_context(ca=ca), option)) == Reply(200, b"hello")


def test_the_hosts_own_certificate_may_be_trusted(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = OTHER_CA.issue_cert("web01")
    issued.configure_cert(context)
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "web01.pem"))
    assert run(post_to(context, SessionOption(ca_file=str(tmp_path / "web01.pem")))) == Reply(200, b"hello")
