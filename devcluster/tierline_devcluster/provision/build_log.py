"""Run the commands of a build, keep what they print in one file, and name that file when one fails."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tierline_devcluster.errors import DevclusterError


class BuildError(DevclusterError):
    """A build step failed; the message names the command and the log."""


class BuildLog:
    """Runs commands one after the other; everything they print is appended to `path`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        self.path = path

    def run(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> str:
        """Run the command with `env` added to the environment; return its standard output or raise `BuildError`."""
        try:
            done = subprocess.run(
                argv, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise BuildError(f"{argv[0]} does not start: {error}") from error
        with self.path.open("a") as log:
            log.write(f"$ {' '.join(argv)[:2000]}\n{done.stdout}{done.stderr}\n")
        if done.returncode != 0:
            raise BuildError(f"{' '.join(argv)[:120]} failed with exit code {done.returncode}; log: {self.path}")
        return done.stdout
