"""Kernels run on the GPU where there is one, else in Triton's interpreter (chosen in `tests/conftest.py`)."""

import pytest
import torch
from triton.runtime import interpreter


@pytest.fixture(autouse=True)
def scalars_as_indices(monkeypatch) -> None:
    """The interpreter's scalars are arrays of one element, which numpy 2.4 no longer takes as bounds of a loop."""
    patched = interpreter._patch_lang_tensor

    def patch(tensor: type, scope: object) -> None:
        patched(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    monkeypatch.setattr(interpreter, "_patch_lang_tensor", patch)


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
