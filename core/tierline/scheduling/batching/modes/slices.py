"""Slice-level batching: a request that generated `slice_tokens` yields its place when another of its class needs it.

    turn_end = known tokens when it starts or resumes + slice_tokens
    yields   = known >= turn_end, and a waiting request of its class lacks blocks
    then it waits behind those of its class that wait now, and before whoever comes later

A class is the Slice requests of one priority. Slice-level scheduling after SCLS (Cheng et al., 2024): short requests
do not wait for long ones to end, and no length has to be known. What runs out is memory, so a turn ends only for
blocks: as long as they suffice everyone runs, and nothing is gained by stopping anyone. Who yields keeps its KV as any
other victim does (`parking`). Inputs: lengths, `slice_tokens`. Bounds: each turn gives at least `slice_tokens` tokens
or the end of the request, so however often requests yield, each one ends; a request waits for at most one turn of each
other one of its class. Not for: slices so short that saving and loading a context takes longer than the turn.
"""

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.slots import Mode, Phase, SlotTable


def may_join(slots: SlotTable, candidates: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which of `candidates` are of this mode: each may start when blocks are there."""
    mask: NDArray[np.bool_] = slots.mode[candidates] == Mode.SLICE
    return mask


def begin_turn(slots: SlotTable, slot: int, slice_tokens: int) -> None:
    """Note that a request starts or resumes."""
    slots.turn_end[slot] = slots.known[slot] + slice_tokens


def used_up(slots: SlotTable, waiting: int) -> NDArray[np.intp]:
    """Return the running requests of the class of `waiting` whose turn is over, the one longest over it first."""
    if slots.mode[waiting] != Mode.SLICE:
        return np.empty(0, np.intp)
    running = (slots.phase == Phase.RUNNING) & (slots.mode == Mode.SLICE) & slots.preemptible
    over = (slots.known >= slots.turn_end) & (slots.known < slots.max_total)
    found = np.flatnonzero(running & over & (slots.priority == slots.priority[waiting]))
    return found[np.argsort(slots.turn_end[found] - slots.known[found], kind="stable")]


def end_turn(slots: SlotTable, slot: int) -> None:
    """Let a request that yielded wait behind those of its class that wait now."""
    waiting = (slots.phase == Phase.WAITING) | (slots.phase == Phase.PARKED)
    of_class = waiting & (slots.mode == Mode.SLICE) & (slots.priority == slots.priority[slot])
    slots.requeue(slot, float(slots.deadline_ms[of_class].max(initial=-np.inf)))
