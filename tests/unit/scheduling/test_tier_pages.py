import numpy as np

from tierline.scheduling.memory.tier_pages import PagePool


def test_pages_are_given_once_and_come_back() -> None:
    pool = PagePool(5)
    first, second = pool.take(3), pool.take(2)
    assert pool.free == 0
    assert sorted([*first.tolist(), *second.tolist()]) == [0, 1, 2, 3, 4]
    pool.give_back(first)
    assert pool.free == 3
    assert pool.take(3).tolist() == first.tolist()


def test_a_restored_pool_gives_the_same_pages() -> None:
    pool, twin = PagePool(6), PagePool(6)
    pool.give_back(pool.take(4)[[2, 0]])
    twin.restore(tuple(pool.free_list.tolist()))
    assert np.array_equal(pool.take(3), twin.take(3))
