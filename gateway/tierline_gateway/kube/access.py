"""How to reach the Kubernetes API: from inside a pod, or by a kubeconfig whose token is rotated on disk."""

import base64
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeAccessError(ValueError):
    """There is no usable way to the API; the message names the file or variable and the fix."""


@dataclass(frozen=True)
class KubeCredentials:
    """One reading of the files: where the server is and how we prove who we are."""

    server: str
    tls: ssl.SSLContext | None
    token: str


class KubeAccess:
    """Credentials that follow their files: a rotated token is used from the next request on."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Choose the way; raises `KubeAccessError` when there is none."""
        self._in_cluster = "KUBERNETES_SERVICE_HOST" in environment
        self._environment = environment
        if not self._in_cluster and not environment.get("KUBECONFIG"):
            raise KubeAccessError("KUBERNETES_SERVICE_HOST and KUBECONFIG are unset; run in a pod or set KUBECONFIG")
        self._file = ACCOUNT_DIR / "token" if self._in_cluster else Path(environment["KUBECONFIG"])
        self._read_at = -1.0
        self._credentials: KubeCredentials | None = None

    def credentials(self) -> KubeCredentials:
        """Return current credentials, reading the files again when they changed; raises `KubeAccessError`."""
        try:
            changed = self._file.stat().st_mtime
            if self._credentials is None or changed != self._read_at:
                self._credentials = self._read()
                self._read_at = changed
        except (OSError, KeyError, TypeError, ValueError, StopIteration, yaml.YAMLError) as error:
            raise KubeAccessError(f"{self._file} cannot be used ({error!r}); check KUBECONFIG") from error
        return self._credentials

    def _read(self) -> KubeCredentials:
        return self._from_account() if self._in_cluster else _from_kubeconfig(self._file)

    def _from_account(self) -> KubeCredentials:
        host, port = self._environment["KUBERNETES_SERVICE_HOST"], self._environment["KUBERNETES_SERVICE_PORT"]
        tls = ssl.create_default_context(cafile=str(ACCOUNT_DIR / "ca.crt"))
        bracketed = f"[{host}]" if ":" in host else host
        return KubeCredentials(f"https://{bracketed}:{port}", tls, self._file.read_text().strip())


def _from_kubeconfig(path: Path) -> KubeCredentials:
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"] or {}
    server = str(cluster["server"]).rstrip("/")
    tls = _tls(cluster, user, path.parent) if server.startswith("https://") else None
    return KubeCredentials(server, tls, _token(user, path.parent))


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _token(user: dict[str, Any], folder: Path) -> str:
    if "tokenFile" in user:
        return (folder / str(user["tokenFile"])).read_text().strip()
    return str(user.get("token", ""))


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", folder)
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    certificate, key = _material(user, "client-certificate", folder), _material(user, "client-key", folder)
    if certificate and key:
        # The ssl module loads client certificates from files only.
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(certificate + b"\n" + key)
            pem.flush()
            tls.load_cert_chain(pem.name)
    return tls


def _material(section: dict[str, Any], name: str, folder: Path) -> bytes:
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"])
    return (folder / section[name]).read_bytes() if name in section else b""
