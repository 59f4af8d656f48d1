"""When the interpreter looks for garbage that reference counts do not free.

A full look goes over everything that the stores hold: an eighth of a second with 260 fleets, in which nothing else
runs, and by Python's defaults there are several in each start. What news replaces is freed by its counts; cycles are
left by failures only.

    full look: after YOUNG * MIDDLE * OLD new objects that were not freed, some hundred MB

Bounds: that much garbage may lie about. When not to use it: in a process that makes cycles in the way of its work.
"""

import gc
from typing import Final

YOUNG: Final = 5_000
MIDDLE: Final = 10
OLD: Final = 40


def look_seldom() -> None:
    """Take what there is now, at the start of a process, for what stays; look at the rest seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
