"""The pool of blocks by itself: who refers to what, and what becomes of a block that nobody refers to."""

import pytest

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.memory.blocks import BlockState, MemoryManager
from tierline.scheduling.plans import EngineLimits

A, B, C = 0, 1, 2


def memory_of(blocks: int = 8) -> tuple[MemoryManager, EngineCounters]:
    limits = EngineLimits(
        max_running_requests=3, max_batched_tokens=16, max_model_tokens=32, block_tokens=4, total_blocks=blocks
    )
    counters = EngineCounters()
    return MemoryManager(limits, counters), counters


def table(memory: MemoryManager, slot: int) -> list[int]:
    return memory.table[slot, : memory.owned[slot]].tolist()


def named(memory: MemoryManager, slot: int, *keys: bytes) -> None:
    """Give `slot` a block for each key, computed and named."""
    memory.append(slot, len(keys))
    for index, key in enumerate(keys):
        memory.name(slot, index, key, barrier=0)


def test_two_samples_share_the_prompt_and_copy_what_they_continue() -> None:
    # PagedAttention's figure of parallel sampling: two answers to one prompt of one and a half blocks.
    memory, _ = memory_of()
    memory.append(A, 2)
    full, partial = table(memory, A)
    memory.share(B, [full])
    memory.append(B, 1)
    assert table(memory, B)[0] == full
    assert table(memory, B)[1] != partial
    assert memory.references[[full, partial]].tolist() == [2, 1]
    assert memory.used == 3
    memory.release(A, barrier=0)
    assert memory.references[full] == 1
    assert memory.used == 2
    memory.release(B, barrier=0)
    assert memory.free == 8


def test_a_block_stays_until_every_iteration_of_its_owners_is_committed() -> None:
    memory, _ = memory_of()
    memory.append(A, 1)
    memory.share(B, table(memory, A))
    memory.release(A, barrier=5)
    assert (memory.free, memory.cooling) == (7, 0)
    memory.release(B, barrier=3)
    memory.committed(4)
    assert (memory.free, memory.cooling) == (7, 1)
    memory.committed(5)
    assert (memory.free, memory.cooling) == (8, 0)


def test_a_tail_is_given_up_and_the_head_stays() -> None:
    memory, _ = memory_of()
    memory.append(A, 4)
    head = table(memory, A)[:1]
    memory.release_tail(A, 3, barrier=0)
    assert table(memory, A) == head
    assert memory.free == 7
    with pytest.raises(AssertionError, match="slot 0 has 1 blocks, not 2"):
        memory.release_tail(A, 2, barrier=0)


def test_named_blocks_are_found_again_and_others_are_not() -> None:
    memory, _ = memory_of()
    named(memory, A, b"k0", b"k1")
    memory.append(A, 1)
    blocks = table(memory, A)
    memory.release(A, barrier=0)
    assert memory.free == 8
    assert memory.cache.find([b"k0", b"k1", b"k2"]) == blocks[:2]
    assert memory.cache.find([b"other", b"k1"]) == []
    assert memory.state[blocks].tolist() == [BlockState.CACHED, BlockState.CACHED, BlockState.FREE]


def test_a_hit_is_no_longer_free() -> None:
    memory, _ = memory_of()
    named(memory, A, b"k0", b"k1")
    blocks = table(memory, A)
    memory.release(A, barrier=0)
    assert memory.unclaimed(blocks) == 2
    memory.share(B, blocks)
    assert memory.unclaimed(blocks) == 0
    assert (memory.free, memory.used) == (6, 2)


def test_eviction_takes_the_oldest_request_first_and_its_tail_before_its_head() -> None:
    memory, counters = memory_of(blocks=4)
    named(memory, A, b"a0", b"a1")
    named(memory, B, b"b0", b"b1")
    memory.release(A, barrier=0)
    memory.release(B, barrier=0)
    found = []
    for _ in range(4):
        memory.append(C, 1)
        found.append([key.decode() for key in (b"a0", b"a1", b"b0", b"b1") if memory.cache.find([key])])
    assert found == [["a0", "b0", "b1"], ["b0", "b1"], ["b0"], []]
    assert counters.evicted_blocks == 4


def test_a_shared_head_outlives_every_tail() -> None:
    memory, _ = memory_of(blocks=3)
    named(memory, A, b"head", b"a1")
    memory.share(B, memory.cache.find([b"head"]))
    memory.append(B, 1)
    memory.name(B, 1, b"b1", barrier=0)
    memory.release(A, barrier=7)
    memory.release(B, barrier=7)
    memory.committed(7)
    memory.append(C, 2)
    assert len(memory.cache.find([b"head"])) == 1


def test_what_has_references_is_never_evicted() -> None:
    memory, _ = memory_of(blocks=2)
    named(memory, A, b"k0", b"k1")
    assert memory.free == 0
    with pytest.raises(AssertionError, match="1 blocks asked, 0 free"):
        memory.append(B, 1)


def test_a_cooling_block_can_be_hit_and_cools_on_afterwards() -> None:
    memory, _ = memory_of()
    named(memory, A, b"k0")
    block = table(memory, A)
    memory.release(A, barrier=4)
    memory.share(B, block)
    assert (memory.cooling, memory.references[block[0]]) == (0, 1)
    memory.release(B, barrier=2)
    memory.committed(3)
    assert memory.cooling == 1
    memory.committed(4)
    assert memory.cache.idle_list == tuple(block)


def test_equal_blocks_computed_side_by_side_become_one() -> None:
    memory, _ = memory_of()
    named(memory, A, b"k0")
    memory.append(B, 1)
    own = table(memory, B)[0]
    memory.name(B, 0, b"k0", barrier=6)
    assert table(memory, B) == table(memory, A)
    assert memory.take_updates().tolist() == [[B, 0, table(memory, A)[0]]]
    assert not len(memory.take_updates())
    assert memory.state[own] == BlockState.COOLING
    memory.committed(6)
    assert memory.free == 7


def test_what_is_forgotten_is_not_found_and_only_exclusive_blocks_are_named() -> None:
    memory, _ = memory_of()
    named(memory, A, b"k0", b"k1")
    memory.share(B, memory.cache.find([b"k0"]))
    assert memory.forget(A).tolist() == table(memory, A)[1:]
    assert memory.cache.find([b"k0"]) == []
    memory.release(A, barrier=0)
    memory.release(B, barrier=0)
    assert (memory.free, memory.cache.idle) == (8, 0)


def test_pages_come_from_the_same_pool_and_cool_too() -> None:
    memory, _ = memory_of()
    named(memory, A, *[bytes([index]) for index in range(6)])
    memory.release(A, barrier=0)
    pages = memory.take_pages(5)
    assert pages is not None
    assert (memory.free, memory.used, memory.pages) == (3, 5, 5)
    assert memory.take_pages(4) is None
    memory.give_pages(pages, barrier=2)
    assert (memory.free, memory.pages, memory.cooling) == (3, 0, 5)
    memory.committed(2)
    assert memory.free == 8
