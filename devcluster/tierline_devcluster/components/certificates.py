"""Keys and certificates of one cluster: one authority, one serving certificate, client certificates by purpose.

Elliptic-curve keys, because making RSA keys takes longer than starting the API server.
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KUBELET_CLIENT_NAME = "kube-apiserver-kubelet-client"
LIFETIME = timedelta(days=365)
SERVING_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Paths of a certificate and its private key, both PEM."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """All credentials of a cluster as files.

    `serving` is valid for 127.0.0.1 and is shared by all components and by the node agent's kubelet API;
    `api_to_kubelet` has the common name `KUBELET_CLIENT_NAME`, which the agent checks.
    """

    ca: KeyPair
    serving: KeyPair
    admin: KeyPair
    controller_manager: KeyPair
    scheduler: KeyPair
    api_to_kubelet: KeyPair
    api_to_etcd: KeyPair
    service_account_private: Path
    service_account_public: Path


class _Authority:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tierline-devcluster")])
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = builder.add_extension(_key_usage(signs_certificates=True), critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.files = _write_pair(folder, "ca", self.certificate, self._key)

    def issue(
        self, file_name: str, common_name: str, organization: str | None = None, serving: bool = False
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if organization:
            subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(x509.Name(subject), self._name, key.public_key())
        if serving:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(_serving_names(), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        return _write_pair(self._folder, file_name, builder.sign(self._key, hashes.SHA256()), key)


def create_certificates(folder: Path) -> CertificateFiles:
    """Write fresh credentials below `folder` (readable by the owner only) and return their paths."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _Authority(folder)
    private, public = _service_account_keys(folder)
    return CertificateFiles(
        ca=authority.files,
        serving=authority.issue("serving", "tierline-devcluster-serving", serving=True),
        admin=authority.issue("admin", "tierline-admin", "system:masters"),
        controller_manager=authority.issue("controller-manager", "system:kube-controller-manager"),
        scheduler=authority.issue("scheduler", "system:kube-scheduler"),
        api_to_kubelet=authority.issue("api-to-kubelet", KUBELET_CLIENT_NAME),
        api_to_etcd=authority.issue("api-to-etcd", "kube-apiserver-etcd-client"),
        service_account_private=private,
        service_account_public=public,
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _serving_names() -> x509.SubjectAlternativeName:
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "10.96.0.1")]
    return x509.SubjectAlternativeName([*(x509.DNSName(name) for name in SERVING_NAMES), *addresses])


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _service_account_keys(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "service-account.key", folder / "service-account.pub"
    _write_private(private, _private_pem(key))
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def _write_pair(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    pair = KeyPair(folder / f"{name}.crt", folder / f"{name}.key")
    pair.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_private(pair.key, _private_pem(key))
    return pair


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
