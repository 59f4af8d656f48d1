"""Models for the worker's unit tests."""

from pathlib import Path

import pytest
from engine_testing import Bench
from tiny_checkpoint import write_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_bench(tiny_path: Path) -> Bench:
    return Bench.load(tiny_path)
