"""The states of a request and every legal transition between them.

    WAITING ──► WAITING_KV ──► RUNNING ──► DONE
       ▲            │          │  ▲  │
       │            └──────────┤  │  └──► MOVING ──► WAITING | RUNNING | DONE
       └──── (Nack, lost) ◄────┘  └── PARKED

WAITING: in the gateway's queue, no worker holds anything of it. WAITING_KV: started on a worker, whose blocks (or
moved KV) are not there yet. RUNNING: part of the worker's iterations. PARKED: preempted, its KV saved or dropped.
MOVING: on its way to another worker. DONE: finished, refused, cancelled or failed; nothing follows.

The gateway owns WAITING and commits MOVING; a worker owns WAITING_KV, RUNNING and PARKED. Losing a worker takes a
request from any of its states back to WAITING: the gateway's journal replays it.
"""

from dataclasses import dataclass
from enum import StrEnum


class RequestState(StrEnum):
    """Where a request is."""

    WAITING = "WAITING"
    WAITING_KV = "WAITING_KV"
    RUNNING = "RUNNING"
    PARKED = "PARKED"
    MOVING = "MOVING"
    DONE = "DONE"


class FinishReason(StrEnum):
    """Why a request is DONE; the first two are OpenAI's."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    FAILED = "failed"


_S = RequestState

TRANSITIONS: dict[RequestState, frozenset[RequestState]] = {
    _S.WAITING: frozenset({_S.WAITING_KV, _S.DONE}),
    _S.WAITING_KV: frozenset({_S.RUNNING, _S.WAITING, _S.MOVING, _S.DONE}),
    _S.RUNNING: frozenset({_S.PARKED, _S.MOVING, _S.WAITING, _S.DONE}),
    _S.PARKED: frozenset({_S.WAITING_KV, _S.RUNNING, _S.MOVING, _S.WAITING, _S.DONE}),
    _S.MOVING: frozenset({_S.WAITING, _S.WAITING_KV, _S.RUNNING, _S.DONE}),
    _S.DONE: frozenset(),
}


class IllegalTransition(ValueError):
    """A transition that `TRANSITIONS` does not hold."""


@dataclass(slots=True)
class RequestLife:
    """One request's state, moved only along legal transitions.

    `epoch` counts the request's placements: it grows with each start on a worker, so that frames of an earlier
    placement are known as stale.
    """

    request_id: str
    state: RequestState = RequestState.WAITING
    epoch: int = 0
    finish_reason: FinishReason | None = None

    def to(self, state: RequestState) -> None:
        """Move to `state`; raises `IllegalTransition`. DONE is reached by `finish`."""
        if state is RequestState.DONE:
            raise IllegalTransition(f"{self.request_id}: DONE needs a reason, call finish()")
        self._move(state)

    def start(self) -> int:
        """Place the request on a worker: WAITING_KV under a new epoch, which is returned."""
        self._move(RequestState.WAITING_KV)
        self.epoch += 1
        return self.epoch

    def finish(self, reason: FinishReason) -> None:
        self._move(RequestState.DONE)
        self.finish_reason = reason

    @property
    def done(self) -> bool:
        return self.state is RequestState.DONE

    def _move(self, state: RequestState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"{self.request_id}: {self.state} -> {state}")
        self.state = state
