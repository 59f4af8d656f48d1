import pytest

from tierline.scheduling.memory.prefix_keys import KEY_BYTES, SECRET_BYTES, KeySpace


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="secret has 3 bytes: give it 32"):
        KeySpace(b"abc", "m", 16)


def test_keys_are_the_same_in_every_process() -> None:
    keys = KeySpace(bytes(SECRET_BYTES), "llama@1", 4).chain("n/t", "french").extend(range(9))
    assert [len(key) for key in keys] == [KEY_BYTES, KEY_BYTES]
    assert [key.hex() for key in keys] == ["4a6faa75606bd6cf48e53399d7e9d88d", "71131ce2873c34be8a7a1d351b6a9f9b"]
