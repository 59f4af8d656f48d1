"""A peer's side of the protocol in `core/tierline/bench/protocol.py`, with the standard library alone.

Peers run in environments of their own, without Tierline. What a library prints goes to stderr, answers to the stdout
that the process was started with.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


class Times:
    """Notes when the tokens of a load's streams are there, and says which streams are due."""

    def __init__(self, load: dict[str, Any]) -> None:
        self.streams = load["streams"]
        self._ends_with = load.get("ends_with", -1)
        self._submitted_s = [0.0] * len(self.streams)
        self._token_s: list[list[float]] = [[] for _ in self.streams]
        self._waiting = list(range(len(self.streams)))
        self._began_s = time.perf_counter()

    def due(self) -> list[int]:
        """Return the streams to submit now; each is returned once."""
        first = len(self._token_s[0])
        found = [index for index in self._waiting if self.streams[index].get("starts_after_tokens", 0) <= first]
        self._waiting = [index for index in self._waiting if index not in found]
        for index in found:
            self._submitted_s[index] = self.now_s()
        return found

    def now_s(self) -> float:
        return time.perf_counter() - self._began_s

    def tokens(self, index: int, total: int) -> None:
        """Note that stream `index` has `total` tokens by now."""
        self._token_s[index] += [self.now_s()] * (total - len(self._token_s[index]))

    def tokens_at(self, index: int, seconds: list[float]) -> None:
        """Note the times of a stream's tokens, in seconds since the load began."""
        self._token_s[index] = seconds

    @property
    def over(self) -> bool:
        """True when the stream that ends the load has ended."""
        last = self._ends_with
        return last >= 0 and len(self._token_s[last]) >= self.streams[last]["new_tokens"]

    def done(self) -> dict[str, Any]:
        pairs = zip(self._submitted_s, self._token_s, strict=True)
        return {"streams": [{"submitted_s": submitted, "token_s": tokens} for submitted, tokens in pairs]}


def serve(ready: Callable[[dict[str, Any]], dict[str, Any]], run: Callable[[Times], None]) -> None:
    """Answer requests until stdin ends. `ready` makes the engine and describes it, `run` fills in a load's times."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "setup" in request:
                answer = {"ready": ready(request["setup"])}
            else:
                times = Times(request["load"])
                run(times)
                answer = {"done": times.done()}
        except Exception as error:  # noqa: BLE001 whatever breaks is this contestant's answer
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
