"""Packing and unpacking of pinned copies, with memory that is not pinned and events that do nothing."""

import numpy as np
import pytest
import torch

from tierline_worker.device import cuda_transport
from tierline_worker.device.cuda_transport import PinnedTransport


class Event:
    waits = 0

    def record(self) -> None: ...

    def synchronize(self) -> None:
        Event.waits += 1


@pytest.fixture
def transport(monkeypatch) -> PinnedTransport:
    empty = torch.empty

    def unpinned(*shape: object, pin_memory: bool, **kwargs: object) -> torch.Tensor:
        assert pin_memory
        return empty(*shape, **kwargs)

    monkeypatch.setattr(torch, "empty", unpinned)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    return PinnedTransport(torch.device("cpu"))


@pytest.mark.parametrize("size", [0, 3, 5 * cuda_transport._FIRST_NUMBERS])
def test_arrays_of_any_shape_arrive_as_they_are(transport, size) -> None:
    arrays = [np.arange(size), np.arange(2 * size).reshape(2, size)[:, ::-1], np.empty((0, 2), np.int64)]
    for _ in range(2 * cuda_transport._BUFFERS):
        for array, sent in zip(arrays, transport.send(*arrays), strict=True):
            assert sent.shape == array.shape
            np.testing.assert_array_equal(sent.numpy(), array)


def test_a_result_is_copied_at_once_and_waited_for_later(transport) -> None:
    result = torch.arange(6).view(2, 3)
    fetched = transport.fetch(result)
    result.zero_()
    waits = Event.waits
    np.testing.assert_array_equal(fetched(), [[0, 1, 2], [3, 4, 5]])
    assert Event.waits == waits + 1
