"""Equal prefix, equal key, and nothing else has one: keys may be taken for the KV they name."""

from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.memory.prefix_keys import SECRET_BYTES, KeySpace

SECRET = bytes(range(SECRET_BYTES))
TOKENS = st.lists(st.integers(0, 3), max_size=24)
NAMES = st.text(max_size=3)


def keys(tokens: list[int], block: int, namespace: str = "", adapter: str = "", **space: object) -> tuple[bytes, ...]:
    made = KeySpace(space.get("secret", SECRET), space.get("revision", "m"), block)  # type: ignore[arg-type]
    return made.chain(namespace, adapter).extend(tokens)


@given(TOKENS, TOKENS, st.integers(1, 5))
def test_blocks_have_one_key_exactly_when_all_tokens_up_to_their_end_are_equal(
    left: list[int], right: list[int], block: int
) -> None:
    for index, (one, other) in enumerate(zip(keys(left, block), keys(right, block), strict=False), 1):
        assert (one == other) == (left[: index * block] == right[: index * block])


@given(TOKENS, st.integers(1, 5), st.data())
def test_keys_do_not_depend_on_how_the_context_grew(tokens: list[int], block: int, data: st.DataObject) -> None:
    chain = KeySpace(SECRET, "m", block).chain("")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(tokens)), max_size=5)))
    parts = [tokens[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(tokens)], strict=True)]
    grown = tuple(key for part in parts for key in chain.extend(part))
    assert grown == keys(tokens, block)
    assert len(grown) == len(tokens) // block


@given(TOKENS, st.tuples(NAMES, NAMES, NAMES), st.tuples(NAMES, NAMES, NAMES))
def test_other_models_adapters_and_namespaces_share_no_key(
    tokens: list[int], one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    left, right = (
        set(keys(tokens, 2, namespace, adapter, revision=revision)) for revision, adapter, namespace in (one, other)
    )
    assert left == right if one == other else not left & right


@given(st.lists(st.integers(0, 3), min_size=2, max_size=24))
def test_without_the_secret_no_key_can_be_made(tokens: list[int]) -> None:
    assert not set(keys(tokens, 2)) & set(keys(tokens, 2, secret=bytes(SECRET_BYTES)))
