"""Kubeconfig files: reading the agent's own, writing one for each pod."""

import base64
import json
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from tierline_devcluster.agent.pod.spec import Json


class KubeconfigError(Exception):
    """A kubeconfig file that cannot be used; the message names the file and what is missing."""


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """How to reach an API server and as whom; certificates are PEM bytes."""

    server: str
    ca_pem: bytes
    client_cert_pem: bytes
    client_key_pem: bytes
    token: str

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context that trusts only the cluster's CA and presents the client certificate."""
        context = ssl.create_default_context(cadata=self.ca_pem.decode())
        if self.client_cert_pem:
            _load_client_cert(context, self.client_cert_pem, self.client_key_pem)
        return context


def _load_client_cert(context: ssl.SSLContext, cert_pem: bytes, key_pem: bytes) -> None:
    # `ssl` reads certificates from files only.
    with tempfile.TemporaryDirectory() as folder:
        cert, key = Path(folder, "cert"), Path(folder, "key")
        cert.write_bytes(cert_pem)
        key.touch(mode=0o600)
        key.write_bytes(key_pem)
        context.load_cert_chain(cert, key)


def load_access(path: Path) -> ClusterAccess:
    """Read the current context of the kubeconfig at `path`; raises `KubeconfigError`."""
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        return ClusterAccess(
            server=cluster["server"].rstrip("/"),
            ca_pem=_pem(cluster, "certificate-authority", path.parent),
            client_cert_pem=_pem(user, "client-certificate", path.parent),
            client_key_pem=_pem(user, "client-key", path.parent),
            token=user.get("token", ""),
        )
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise KubeconfigError(f"cannot use the kubeconfig {path}: {type(error).__name__}: {error}") from error


def _named(config: Json, group: str, name: str) -> Json:
    for entry in config[group]:
        if entry["name"] == name:
            return dict(entry)
    raise KeyError(f"{group} has no entry {name}")


def _pem(entry: Json, field: str, folder: Path) -> bytes:
    if inline := entry.get(f"{field}-data"):
        return base64.b64decode(str(inline))
    if name := entry.get(field):
        return (folder / str(name)).read_bytes()
    return b""


def write_pod_kubeconfig(path: Path, access: ClusterAccess, namespace: str, token: str) -> None:
    """Write, in one step, a kubeconfig that speaks for a pod's service account in its namespace."""
    cluster = {"server": access.server, "certificate-authority-data": base64.b64encode(access.ca_pem).decode()}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "pod", "user": {"token": token}}],
        "contexts": [{"name": "pod", "context": {"cluster": "cluster", "user": "pod", "namespace": namespace}}],
    }
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    # JSON is YAML, and quicker to write.
    fresh.write_text(json.dumps(config))
    fresh.replace(path)
