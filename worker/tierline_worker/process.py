"""A worker's process: runs a worker and says with what it ended."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping

import uvloop

from tierline.artifacts import AdapterSourceError, ModelSourceError
from tierline_worker.errors import AdapterError, ModelError, SettingsError
from tierline_worker.parallel.group import RankLost
from tierline_worker.settings import WorkerSettings, termination_log
from tierline_worker.worker import Worker

EXIT_BAD_INPUT = 2
EXIT_RANK_LOST = 3


def run() -> None:
    """Run a worker until SIGTERM; exit code 0 after a drain, 2 or 3 with one line of
    explanation for bad input or a lost rank."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    code = _run(os.environ)
    logging.shutdown()
    # The engine's daemon thread may be inside a kernel, where a regular interpreter exit would crash.
    os._exit(code)


def _run(environ: Mapping[str, str]) -> int:
    try:
        settings = WorkerSettings.from_env(environ)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(settings))
    except (AdapterError, AdapterSourceError, ModelError, ModelSourceError, SettingsError) as error:
        _say_last_words(str(error), environ)
        return EXIT_BAD_INPUT
    except RankLost as error:
        _say_last_words(str(error), environ)
        return EXIT_RANK_LOST
    return 0


async def _work(settings: WorkerSettings) -> None:
    await Worker(settings).run()


def _say_last_words(message: str, environ: Mapping[str, str]) -> None:
    """Write one line to stderr, and to the pod's termination message where one is configured."""
    line = " ".join(message.split())
    sys.stderr.write(f"tierline-worker: {line}\n")
    sys.stderr.flush()
    path = termination_log(environ)
    if path is not None:
        path.write_text(line, encoding="utf-8")
