"""Continuous batching: requests join and leave between any two iterations.

    may_join = always

Iteration-level scheduling after ORCA (Yu et al., OSDI 2022): a request that ends leaves its place at once, and one that
waits takes it in the next iteration, so nobody waits for the longest of a batch. Inputs: none. Not for: work that wants
the batch it began in to stay as it is (see `discrete`).
"""

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.slots import Mode, SlotTable


def may_join(slots: SlotTable, candidates: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which of `candidates` are of this mode: all of them may start."""
    mask: NDArray[np.bool_] = slots.mode[candidates] == Mode.CONTINUOUS
    return mask
