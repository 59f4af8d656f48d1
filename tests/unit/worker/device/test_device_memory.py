"""The size of the KV cache on a device."""

import pytest
import torch

from tierline_worker.device.memory import bytes_of_block, cache_blocks
from tierline_worker.errors import SettingsError
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.config import ModelConfig

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def free_2000_bytes(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (2000, 8000))


def test_what_was_asked_for_is_taken_when_it_fits_and_zero_means_all(free_2000_bytes) -> None:
    assert cache_blocks(10, 100, GPU) == 10
    assert cache_blocks(0, 100, GPU) == 17


@pytest.mark.parametrize(("wanted", "block_bytes", "words"), [(18, 100, "for 17 blocks"), (0, 1000, "for 0 blocks")])
def test_what_does_not_fit_is_refused_with_what_would(free_2000_bytes, wanted, block_bytes, words) -> None:
    with pytest.raises(SettingsError, match=f"TIERLINE_KV_CACHE_BLOCKS is {wanted}.*{words}"):
        cache_blocks(wanted, block_bytes, GPU)


def test_a_cpu_takes_what_was_asked_for_and_must_be_told() -> None:
    assert cache_blocks(7, 10**15, CPU) == 7
    with pytest.raises(SettingsError, match=r"TIERLINE_KV_CACHE_BLOCKS is 0.*set a number"):
        cache_blocks(0, 100, CPU)


def test_a_block_has_the_bytes_of_its_page() -> None:
    config = ModelConfig(320, 64, 96, 3, 4, 2, 16, 1e-5, 1e4, 512, True)
    arena = KVArena.allocate(config, 2, 8, torch.bfloat16)
    assert bytes_of_block(config, 8, torch.bfloat16) == arena.pages[0].nbytes
