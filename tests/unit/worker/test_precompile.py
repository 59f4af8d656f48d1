"""An image's cache holds every kernel that a worker calls, for each kind of KV."""

from typing import Any

import numpy as np
import pytest

from tierline_worker import compiling, precompile
from tierline_worker.adapters.cpu_products import add_adapters
from tierline_worker.attention.cpu_attend import attend
from tierline_worker.attention.cpu_turn import turn_and_store


@pytest.mark.parametrize("kernel", [add_adapters, attend, turn_and_store])
def test_pages_of_16_and_32_bits_have_code(kernel: Any) -> None:
    precompile.main()
    written = [str(signature) for signature in kernel.signatures]
    assert any("uint16" in types for types in written)
    assert any("uint32" in types for types in written)


def test_where_nothing_can_be_written_kernels_are_compiled_all_the_same(monkeypatch) -> None:
    made = compiling._made

    def unwritable(function: Any, fastmath: Any, *, kept: bool = False) -> Any:
        if kept:
            raise RuntimeError("no locator available")
        return made(function, fastmath)

    monkeypatch.setattr(compiling, "_made", unwritable)

    def doubled(numbers: np.ndarray) -> None:
        numbers *= 2

    numbers = np.ones(3)
    compiling.compiled(doubled)(numbers)
    assert numbers.tolist() == [2.0, 2.0, 2.0]
