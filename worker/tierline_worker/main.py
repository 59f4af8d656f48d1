"""Entry point of a worker pod: `tierline-worker`, configured by environment variables (see `settings.py`)."""

import gc
import importlib
import os
import sys

_OMP_POLICY = "OMP_WAIT_POLICY"


def main() -> None:
    """Run a worker: all of it is imported here, once OpenMP's policy is right."""
    if not os.environ.get(_OMP_POLICY):
        _start_again_with_passive_threads()
    # What is imported lives until the end: the collector, looking at it again and again, takes a seventh of the time.
    gc.disable()
    process = importlib.import_module("tierline_worker.process")
    gc.freeze()
    gc.enable()
    process.run()


def _start_again_with_passive_threads() -> None:
    """Replace this process: OpenMP reads its policy once, and threads that spin starve every neighbour on the node."""
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _OMP_POLICY: "PASSIVE"})  # noqa: S606


if __name__ == "__main__":
    main()
