"""Kubernetes versions, as far as the command lines of the components depend on them."""

import re
from typing import NamedTuple

from tierline_devcluster.errors import DevclusterError

_PATTERN = re.compile(r"v?(\d+)\.(\d+)")


class KubernetesVersion(NamedTuple):
    """A Kubernetes minor version; compares in the natural order and prints as `1.20`."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def parse_version(text: str) -> KubernetesVersion:
    """Read a version out of `Kubernetes v1.20.2`, `v1.36.0+build` or `1.20`."""
    match = _PATTERN.search(text)
    if match is None:
        raise DevclusterError(f"no Kubernetes version in {text!r}; expected something like v1.20.2")
    return KubernetesVersion(int(match[1]), int(match[2]))
