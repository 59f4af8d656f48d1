"""When the interpreter looks for garbage that reference counts do not free.

What a request leaves behind is freed by its counts; cycles are left by failures only. A full look goes over everything
that the gateway remembers (requests, decisions, traces), which takes a tenth of a second in which every stream stands
still. By Python's defaults there would be one each few thousand requests, which is what their p99 would then be.

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
