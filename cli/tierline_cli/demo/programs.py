"""Helm and kubectl as the demo calls them."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tierline_cli.errors import CommandFailed

OPERATOR_READY_SECONDS = 90
_TAIL = 2000


@dataclass(frozen=True, slots=True)
class Programs:
    """The two programs and the cluster they talk to."""

    helm: Path
    kubectl: Path
    kubeconfig: Path

    def install(self, release: str, chart: Path, namespace: str) -> None:
        """Install the chart and wait until its Deployment is available; raises `CommandFailed`."""
        settings = ["--set", "operator.replicas=2"]
        waiting = ["--wait", "--timeout", f"{OPERATOR_READY_SECONDS}s"]
        self._run(
            [str(self.helm), "install", release, str(chart), "-n", namespace, "--create-namespace", *settings, *waiting]
        )

    def apply(self, folder: Path, namespace: str) -> None:
        """Apply every file of `folder`; raises `CommandFailed`."""
        self._run([str(self.kubectl), "apply", "-n", namespace, "-f", str(folder)])

    def _run(self, argv: list[str]) -> None:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-_TAIL:]
            raise CommandFailed(f"`{Path(argv[0]).name} {' '.join(argv[1:])}` failed:\n{said}")
