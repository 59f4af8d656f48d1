"""Discrete batching: a batch of a class runs to its end before the next one begins.

    batch    = the requests of the class that wait when none of its last batch is left, in order, as long as
               sum(full_blocks) <= blocks; the first of them in any case
    may_join = belongs to the batch

A class is the Discrete requests of one priority. Request-level batching, the baseline of ORCA (Yu et al., OSDI 2022,
§2): a batch's KV fits at full length, so it never preempts itself, and each of its iterations is as the one before, but
for those that ended. Inputs: phases, priorities, full lengths. Bounds: at most one batch a class; whoever waits when a
batch begins and fits is in it, so nobody is passed by a later one. Not for: latency, or lengths that vary: the batch
runs on for its longest request alone while others wait.
"""

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.slots import Mode, Phase, SlotTable


def open_batches(slots: SlotTable, total_blocks: int) -> None:
    """Let the waiting requests of each class that has no batch left form the next one."""
    if not slots.in_batches:
        return
    here = (slots.mode == Mode.DISCRETE) & (slots.phase != Phase.FREE) & (slots.phase != Phase.ENDED)
    waiting = here & ~slots.batched
    if not waiting.any():
        return
    for priority in np.unique(slots.priority[waiting]).tolist():
        of_class = slots.priority == priority
        if not (here & of_class & slots.batched).any():
            _open(slots, np.flatnonzero(waiting & of_class), total_blocks)


def may_join(slots: SlotTable, candidates: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which of `candidates` are of this mode and of their class' batch."""
    mask: NDArray[np.bool_] = (slots.mode[candidates] == Mode.DISCRETE) & slots.batched[candidates]
    return mask


def _open(slots: SlotTable, waiting: NDArray[np.intp], total_blocks: int) -> None:
    ordered = waiting[np.lexsort((slots.arrival[waiting], slots.deadline_ms[waiting]))]
    fitting = np.cumsum(slots.full_blocks[ordered]) <= total_blocks
    fitting[0] = True
    slots.batched[ordered[fitting]] = True
