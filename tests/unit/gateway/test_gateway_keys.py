import pytest

from tierline_gateway.keys import KeyTable, bearer_token, key_digest


def test_keys_are_found_by_hash() -> None:
    table = KeyTable({key_digest("sk-1"): "acme", key_digest("sk-2"): "zeta"})
    assert table.tenant_of("sk-2") == "zeta"
    assert table.tenant_of("sk-3") is None
    assert "sk-1" not in repr(table)


def test_what_is_kept_of_a_key_opens_nothing() -> None:
    kept = key_digest("sk-1")
    table = KeyTable({kept: "acme"})
    assert [table.tenant_of(told) for told in (kept.hex(), kept.decode("latin-1"))] == [None, None]


def test_a_key_that_is_no_text_is_nobodys() -> None:
    assert KeyTable({key_digest("sk-1"): "acme"}).tenant_of("sk-1\udcff") is None


@pytest.mark.parametrize(
    ("header", "key"),
    [("Bearer sk-1", "sk-1"), ("bearer  sk-1 ", "sk-1"), (None, None), ("sk-1", None), ("Bearer ", None), ("", None)],
)
def test_the_bearer_token(header: str | None, key: str | None) -> None:
    assert bearer_token(header) == key
