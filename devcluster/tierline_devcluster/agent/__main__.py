"""`python -m tierline_devcluster.agent <agent.json>`: be the nodes of the file until SIGTERM or SIGINT."""

import asyncio
import logging
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from tierline_devcluster.agent.apiserver.credentials import KubeconfigError
from tierline_devcluster.agent.service import serve_nodes
from tierline_devcluster.nodes import AgentConfig


def main(argv: list[str]) -> int:
    """Return the exit code: 0 after a signal, 2 when the agent cannot be started as configured."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if len(argv) != 2:
        return _refuse("usage: python -m tierline_devcluster.agent <agent.json>")
    if shutil.which("setpriv") is None:
        return _refuse("setpriv is missing: install util-linux 2.33 or later")
    try:
        config = AgentConfig.load(Path(argv[1]))
        asyncio.run(_serve_until_signal(config))
    except (OSError, msgspec.MsgspecError, KubeconfigError) as error:
        return _refuse(f"cannot serve the nodes of {argv[1]}: {error}")
    return 0


async def _serve_until_signal(config: AgentConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve_nodes(config, stop)


def _refuse(message: str) -> int:
    logging.getLogger(__name__).error(message)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
