"""The processes of a pod: kept running, told to end together."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

RESTART_PAUSE_S: Final = 1.0
COMMAND: Final = (sys.executable, "-m", "tierline_gateway.main")


@dataclass
class Child:
    """One gateway process. Its admin port is a socket in the pod's file system."""

    index: int
    folder: Path
    command: Sequence[str] = COMMAND
    restarts: int = 0
    _process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def admin_socket(self) -> Path:
        return self.folder / f"admin-{self.index}.sock"

    async def keep_running(self, state_socket: Path) -> None:
        """Start the process again whenever it ends, until cancelled."""
        environment = {
            "TIERLINE_GATEWAY_PROCESSES": "1",
            "TIERLINE_GATEWAY_PROCESS": str(self.index),
            "TIERLINE_ADMIN_SOCKET": str(self.admin_socket),
            "TIERLINE_STATE_SOCKET": str(state_socket),
        }
        while True:
            self.admin_socket.unlink(missing_ok=True)
            self._process = await asyncio.create_subprocess_exec(*self.command, env={**os.environ, **environment})
            code = await self._process.wait()
            log.error("gateway process %d ended with code %d, it is started again", self.index, code)
            self.restarts += 1
            await asyncio.sleep(RESTART_PAUSE_S)

    async def end(self) -> None:
        """Let the process finish its streams, and wait for it."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            await self._process.wait()
