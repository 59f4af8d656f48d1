"""Rows (slot, index, block): how block tables changed, as a plan tells it to the executor."""

import numpy as np
from numpy.typing import NDArray

NO_ROWS: NDArray[np.int32] = np.empty((0, 3), np.int32)


def table_rows(
    slots: NDArray[np.int64] | int, indexes: NDArray[np.int64], blocks: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return a row for each of `blocks`; `slots` may be one for all of them."""
    rows = np.empty((len(blocks), 3), np.int32)
    rows[:, 0], rows[:, 1], rows[:, 2] = slots, indexes, blocks
    return rows


def joined(parts: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Return the rows of all `parts` in their order; mostly there are none or one."""
    there = [rows for rows in parts if len(rows)]
    return np.concatenate(there) if len(there) > 1 else there[0] if there else NO_ROWS
