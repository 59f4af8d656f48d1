import ssl
import stat

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tierline_devcluster.components.certificates import KUBELET_CLIENT_NAME, create_certificates
from tierline_devcluster.components.kubeconfig import read_server, write_kubeconfig
from tierline_devcluster.errors import DevclusterError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return create_certificates(tmp_path_factory.mktemp("keys"))


def _subject(path, oid):
    return x509.load_pem_x509_certificate(path.read_bytes()).subject.get_attributes_for_oid(oid)[0].value


def test_who_the_clients_are(files):
    assert _subject(files.admin.cert, NameOID.ORGANIZATION_NAME) == "system:masters"
    assert _subject(files.scheduler.cert, NameOID.COMMON_NAME) == "system:kube-scheduler"
    assert _subject(files.controller_manager.cert, NameOID.COMMON_NAME) == "system:kube-controller-manager"
    assert _subject(files.api_to_kubelet.cert, NameOID.COMMON_NAME) == KUBELET_CLIENT_NAME


def test_all_are_signed_by_the_authority(files):
    authority = x509.load_pem_x509_certificate(files.ca.cert.read_bytes())
    for pair in (files.serving, files.admin, files.api_to_kubelet, files.api_to_etcd):
        x509.load_pem_x509_certificate(pair.cert.read_bytes()).verify_directly_issued_by(authority)


def test_keys_fit_their_certificates_and_are_the_owners_alone(files):
    for pair in (files.serving, files.admin, files.scheduler):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(pair.cert, pair.key)
        assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.service_account_private.stat().st_mode) == 0o600


def test_a_kubeconfig_is_private_and_names_its_server(files, tmp_path):
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, "https://127.0.0.1:6443", files.ca.cert, files.admin, context="dev")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_server(path) == "https://127.0.0.1:6443"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "[]", "current-context: x\ncontexts: []\n", "a: [", "current-context: x"])
def test_a_broken_kubeconfig_is_named(tmp_path, text):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(DevclusterError, match="kubeconfig"):
        read_server(path)
