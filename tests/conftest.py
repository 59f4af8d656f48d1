"""Settings that all tests share. `HYPOTHESIS_PROFILE` picks how long property tests search: default, ci, exhaustive."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Triton reads this when it is first imported: without a GPU its kernels are interpreted.
GPU = Path("/dev/nvidiactl").exists()
os.environ.setdefault("TRITON_INTERPRET", "0" if GPU else "1")

_QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large)

settings.register_profile(
    "default", deadline=None, max_examples=150, stateful_step_count=60, suppress_health_check=_QUIET
)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile(
    "exhaustive", parent=settings.get_profile("default"), max_examples=2000, stateful_step_count=200, print_blob=True
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
EXHAUSTIVE_TIMEOUT_SECONDS = 3600
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give long searches the time they take; skip, and say so, what needs a GPU where none is."""
    for item in items:
        if not GPU and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs CUDA, and this machine has no GPU"))
    if PROFILE == "exhaustive":
        for item in items:
            item.add_marker(pytest.mark.timeout(EXHAUSTIVE_TIMEOUT_SECONDS))
