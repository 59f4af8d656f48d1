import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.wire.frames import FrameError
from tierline_gateway.workers.frame_buffer import FrameBuffer


@given(bodies=st.lists(st.binary(max_size=20), max_size=8), cuts=st.lists(st.integers(1, 9), min_size=1, max_size=50))
def test_frames_come_whole_however_the_bytes_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    buffer, got, at = FrameBuffer(), [], 0
    for cut in [*cuts, len(stream)]:
        got += buffer.feed(stream[at : at + cut])
        at += cut
    got += buffer.feed(stream[at:])
    assert got == bodies


def test_frames_before_an_absurd_one_still_come() -> None:
    bodies = FrameBuffer().feed(b"\x00\x00\x00\x01a\xff\xff\xff\xff")
    assert next(bodies) == b"a"
    with pytest.raises(FrameError):
        next(bodies)
