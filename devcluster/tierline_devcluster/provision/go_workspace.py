"""A GOPATH with the Kubernetes source in it, and the compiler runs inside."""

import os
from collections.abc import Sequence
from pathlib import Path

from tierline_devcluster.provision.build_log import BuildLog


class GoWorkspace:
    """Runs Go in GOPATH mode: module mode refuses the vendor tree of old Kubernetes sources with newer Go."""

    def __init__(self, root: Path, go_root: Path, log: BuildLog) -> None:
        self.root = root
        self._go_root = go_root
        self._log = log

    @property
    def kubernetes(self) -> Path:
        """Where the source of Kubernetes belongs."""
        return self.root / "src/k8s.io/kubernetes"

    def build(self, package: str, output: Path, linker_flags: str) -> None:
        """Compile one program of the Kubernetes tree to `output`; raises `BuildError`."""
        go = str(self._go_root / "bin/go")
        self.run([go, "build", "-o", str(output), "-ldflags", linker_flags, package])

    def run(self, argv: Sequence[str]) -> None:
        """Run a command in the Kubernetes tree with Go's environment; raises `BuildError`."""
        self._log.run(argv, cwd=self.kubernetes, env=self._environment())

    def _environment(self) -> dict[str, str]:
        return {
            "GOROOT": str(self._go_root),
            "GOPATH": str(self.root),
            "GOCACHE": str(self.root / "cache"),
            "GO111MODULE": "off",
            "CGO_ENABLED": "0",
            "GOFLAGS": "",
            "PATH": f"{self._go_root / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }
