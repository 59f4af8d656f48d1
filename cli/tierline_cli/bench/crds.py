"""Our CRDs on a fresh API server."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tierline_operator.cluster import Call, Cluster

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def read_crds(sources: Path) -> list[dict[str, Any]]:
    """Return the CRDs of a checkout."""
    return [yaml.safe_load(file.read_text()) for file in sorted((sources / "crds").glob("*.yaml"))]


async def install_crds(cluster: Cluster, crds: Sequence[dict[str, Any]]) -> None:
    """Create the CRDs and wait until they are served."""
    for crd in crds:
        await cluster.request(Call("POST", CRDS, body=crd))
    async with asyncio.timeout(60):
        for crd in crds:
            await _until_established(cluster, crd["metadata"]["name"])


async def _until_established(cluster: Cluster, name: str) -> None:
    established = False
    while not established:
        await asyncio.sleep(0.2)
        conditions = (await cluster.request(Call("GET", f"{CRDS}/{name}"))).get("status", {}).get("conditions") or ()
        established = any(it["type"] == "Established" and it["status"] == "True" for it in conditions)
