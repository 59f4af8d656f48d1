"""Makes machine code of kernels for CPUs, and keeps it between processes.

A pod has no compiler; numba brings its own. What it made lies in the worker's cache folder (an image brings it, by
`precompile`), since compiling takes seconds and loading a tenth of one. Where nothing can be written, each process
compiles for itself.

On x86 code is made for AVX2 and not for the very CPU, where it has that: so what was compiled elsewhere serves here,
and a sum has the same bits on each.
"""

import logging
import os
import platform
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
from llvmlite import binding

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
    _configure()
    try:
        return _made(function, _FREEDOM, kept=True)
    except RuntimeError as error:
        _LOG.warning("compiled kernels are not kept, each start compiles them again: %s", error)
        return _made(function, _FREEDOM)


def _configure() -> None:
    settings: Any = numba.config
    llvm: Any = binding
    settings.CACHE_DIR = str(default_cache_dir(os.environ) / "kernels")
    if platform.machine() == "x86_64" and all(map(llvm.get_host_cpu_features().get, ("avx2", "fma"))):
        settings.CPU_NAME, settings.CPU_FEATURES = "x86-64-v3", "+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe,+popcnt"


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
