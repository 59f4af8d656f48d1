"""Write and read kubeconfig files that carry their credentials in themselves."""

import base64
import os
from pathlib import Path
from typing import Any

import yaml

from tierline_devcluster.components.certificates import KeyPair
from tierline_devcluster.errors import DevclusterError


def write_kubeconfig(path: Path, server: str, ca: Path, client: KeyPair, context: str) -> None:
    """Write a kubeconfig for `server`, readable by the owner only and replaced atomically."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": _encoded(ca)}}],
        "users": [
            {
                "name": context,
                "user": {
                    "client-certificate-data": _encoded(client.cert),
                    "client-key-data": _encoded(client.key),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": "default"}}],
    }
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        yaml.safe_dump(document, handle, sort_keys=False)
    draft.replace(path)


def read_server(path: Path) -> str:
    """Return the API server's URL of the file's current context; raises `DevclusterError` when there is none."""
    try:
        document: dict[str, Any] = yaml.safe_load(path.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        return str(_named(document["clusters"], context["cluster"])["cluster"]["server"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise DevclusterError(
            f"kubeconfig {path}: no server of a current context ({error!r}); give a readable kubeconfig"
        ) from error


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
