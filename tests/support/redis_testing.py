"""A real Redis server for tests."""

import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tierline.artifacts import default_cache_dir
from tierline_devcluster.provision.redis_server import redis_server_path


class RedisServer:
    """A server that may be killed and started again, without anything of what it knew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = redis_server_path(default_cache_dir(os.environ))
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([str(program), *options], stdout=subprocess.DEVNULL)

    def until_up(self) -> None:
        """Wait until it takes connections."""
        while self._process is not None and self._process.poll() is None:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise AssertionError("the Redis server did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
