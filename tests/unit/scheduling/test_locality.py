from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.routing.locality import CHUNK_TOKENS, PrefixMap, chunk_keys

SYSTEM = list(range(3 * CHUNK_TOKENS))
PLENTY = 1_000_000


def test_a_shared_beginning_is_found_up_to_where_prompts_part() -> None:
    known = PrefixMap()
    known.sent("a", chunk_keys([*SYSTEM, *[7] * 200], "acme"), PLENTY)
    question = chunk_keys([*SYSTEM, *[8] * 200], "acme")
    assert known.cached_tokens("a", question) == len(SYSTEM)
    assert known.cached_tokens("b", question) == 0


def test_tenants_and_adapters_have_nothing_in_common() -> None:
    assert not set(chunk_keys(SYSTEM, "acme")) & set(chunk_keys(SYSTEM, "globex"))
    assert not set(chunk_keys(SYSTEM, "acme")) & set(chunk_keys(SYSTEM, "acme", "law"))
    assert not set(chunk_keys(SYSTEM, "ab", "c")) & set(chunk_keys(SYSTEM, "a", "bc"))


def test_a_worker_that_is_gone_holds_nothing() -> None:
    known = PrefixMap()
    known.sent("a", chunk_keys(SYSTEM, ""), PLENTY)
    known.forget("a")
    assert known.cached_tokens("a", chunk_keys(SYSTEM, "")) == 0


def test_no_more_is_remembered_than_the_arena_holds_and_the_beginning_longest() -> None:
    known = PrefixMap()
    keys = chunk_keys(list(range(10 * CHUNK_TOKENS)), "")
    known.sent("a", keys, capacity_tokens=4 * CHUNK_TOKENS)
    assert known.cached_tokens("a", keys) == 4 * CHUNK_TOKENS


TOKENS = st.lists(st.integers(0, 3), max_size=4 * CHUNK_TOKENS)


@given(TOKENS, TOKENS)
def test_equal_keys_mean_equal_beginnings(one: list[int], other: list[int]) -> None:
    for number, (mine, theirs) in enumerate(zip(chunk_keys(one, ""), chunk_keys(other, ""), strict=False), start=1):
        assert (mine == theirs) == (one[: number * CHUNK_TOKENS] == other[: number * CHUNK_TOKENS])
