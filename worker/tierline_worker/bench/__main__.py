"""Speaks `tierline.bench.protocol` on stdin and stdout."""

import logging
import os
import sys
from typing import IO

import msgspec
import torch

from tierline.bench.protocol import Answer, Ready, Request
from tierline_worker.bench.driver import Driver, make_engine


def main() -> None:
    """Answer requests until stdin ends."""
    logging.basicConfig(level=logging.WARNING)
    # What libraries print must not get between the answers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        _serve(sys.stdin.buffer, answers)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    driver: Driver | None = None
    for line in requests:
        request = msgspec.json.decode(line, type=Request)
        try:
            if request.setup is not None:
                driver = Driver(make_engine(request.setup), request.setup.adapters)
                answer = Answer(ready=_ready())
            else:
                assert driver is not None, "setup comes first"
                assert request.load is not None, "a request holds a setup or a load"
                answer = Answer(done=driver.run(request.load))
        except Exception as error:  # noqa: BLE001 whatever breaks is this contestant's answer
            answer = Answer(error=f"{type(error).__name__}: {error}")
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()


def _ready() -> Ready:
    facts = {"torch": str(torch.__version__), "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    return Ready("tierline", "this checkout", facts=facts)


if __name__ == "__main__":
    main()
