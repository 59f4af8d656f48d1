"""Makes machine code of kernels for CPUs, and keeps it between processes.

A pod has no compiler; numba brings its own. What it made for this CPU lies in the worker's cache folder, since
compiling takes seconds and loading a tenth of one. Where nothing can be written, each process compiles for itself.
"""

import logging
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

from tierline.artifacts import default_cache_dir

_LOG = logging.getLogger(__name__)
# Not `nnan` nor `ninf`: a NaN must come out of a kernel that it went into, so that its request can be told.
_FREEDOM = {"reassoc", "contract", "nsz", "arcp", "afn"}

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` as machine code that runs without Python's lock, made when it is first called.

    Sums may be reordered, always in the same way for the same sizes.
    """
    setattr(numba.config, "CACHE_DIR", str(default_cache_dir(os.environ) / "kernels"))  # noqa: B010 set at run time
    try:
        return _made(function, _FREEDOM, kept=True)
    except RuntimeError as error:
        _LOG.warning("compiled kernels are not kept, each start compiles them again: %s", error)
        return _made(function, _FREEDOM)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` for use in compiled ones."""
    return _made(function, _FREEDOM)


def inlined_for_numbers(function: Callable[P, R]) -> Callable[P, R]:
    """As `inlined`, but what comes of a NaN is undefined: whoever calls it tells of NaNs by other means."""
    return _made(function, True)


def _made(function: Callable[P, R], fastmath: set[str] | bool, *, kept: bool = False) -> Callable[P, R]:
    dispatcher: Any = numba.njit(nogil=True, cache=kept, fastmath=fastmath, error_model="numpy")
    made: Callable[P, R] = dispatcher(function)
    return made
