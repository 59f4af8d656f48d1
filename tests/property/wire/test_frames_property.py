import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.wire.frames import (
    LENGTH_BYTES,
    Cancel,
    Credits,
    Draining,
    FrameError,
    Hello,
    Iteration,
    Nack,
    NackReason,
    Refusal,
    Sampling,
    Signals,
    Submit,
    TokenBatch,
    Welcome,
    decode_gateway,
    decode_worker,
    encode,
)

INTEGERS = st.integers(-(2**63), 2**64 - 1)
IDS = st.lists(INTEGERS, max_size=8).map(tuple)
FRACTIONS = st.floats(allow_nan=False)
NAMES = st.text(max_size=20)

SAMPLINGS = st.builds(Sampling, INTEGERS, FRACTIONS, FRACTIONS, INTEGERS, INTEGERS, IDS, st.booleans())
SUBMITS = st.builds(Submit, NAMES, INTEGERS, IDS, SAMPLINGS, IDS, NAMES, NAMES, INTEGERS, INTEGERS, INTEGERS, INTEGERS)
GATEWAY = st.one_of(st.builds(Hello, INTEGERS, NAMES), SUBMITS, st.builds(Cancel, NAMES, INTEGERS))

CREDITS = st.builds(Credits, INTEGERS, INTEGERS)
SIGNALS = st.builds(Signals, INTEGERS, INTEGERS, iteration_ms=FRACTIONS, latency_coefficients=st.tuples(FRACTIONS))
BATCHES = st.builds(TokenBatch, NAMES, INTEGERS, INTEGERS, IDS, NAMES, NAMES)
WORKER = st.one_of(
    st.builds(Welcome, INTEGERS, NAMES, NAMES, INTEGERS, INTEGERS, INTEGERS, CREDITS),
    st.builds(Refusal, NAMES),
    st.builds(Nack, NAMES, INTEGERS, st.sampled_from(NackReason)),
    st.builds(Iteration, INTEGERS, SIGNALS, CREDITS, st.lists(BATCHES, max_size=4).map(tuple)),
    st.builds(Draining, INTEGERS, NAMES),
)


@given(GATEWAY)
def test_any_gateway_frame_round_trips(frame) -> None:
    assert decode_gateway(encode(frame)[LENGTH_BYTES:]) == frame


@given(WORKER)
def test_any_worker_frame_round_trips(frame) -> None:
    assert decode_worker(encode(frame)[LENGTH_BYTES:]) == frame


@given(st.binary(max_size=300))
def test_random_bytes_are_frames_or_frame_errors(body: bytes) -> None:
    for decode in (decode_gateway, decode_worker):
        with contextlib.suppress(FrameError):
            decode(body)


@given(GATEWAY, st.data())
def test_a_damaged_frame_is_a_frame_or_a_frame_error(frame, data: st.DataObject) -> None:
    body = bytearray(encode(frame)[LENGTH_BYTES:])
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FrameError):
        decode_gateway(bytes(body))


@given(GATEWAY, st.data())
def test_a_cut_frame_is_a_frame_error(frame, data: st.DataObject) -> None:
    body = encode(frame)[LENGTH_BYTES:]
    with pytest.raises(FrameError):
        decode_gateway(body[: data.draw(st.integers(0, len(body) - 1))])
