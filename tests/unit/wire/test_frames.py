import pytest

from tierline.wire import frames
from tierline.wire.frames import (
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
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
    body_length,
    decode_gateway,
    decode_worker,
    encode,
)

GATEWAY_FRAMES = [
    Hello(version=1, gateway_id="g"),
    Submit("r", 2, (1, 2), Sampling(16, stop_token_ids=(2,)), (3,), "acme", "gold", 5, 10, -4, 30, False),
    Cancel("r", 2),
]
WORKER_FRAMES = [
    Welcome(1, "w", "smollm2", 16, 100, 2048, Credits(4, 100)),
    Refusal("draining"),
    Iteration(7, Signals(running_requests=1), Credits(5, 6), (TokenBatch("r", 2, 0, (9,), "stop"),)),
    Nack("r", 2, NackReason.NO_BLOCKS),
    Draining(5000, "spot"),
]


@pytest.mark.parametrize("frame", GATEWAY_FRAMES, ids=lambda frame: type(frame).__name__)
def test_gateway_frames_round_trip(frame: frames.GatewayFrame) -> None:
    data = encode(frame)
    assert body_length(data[:LENGTH_BYTES]) == len(data) - LENGTH_BYTES
    assert decode_gateway(data[LENGTH_BYTES:]) == frame


@pytest.mark.parametrize("frame", WORKER_FRAMES, ids=lambda frame: type(frame).__name__)
def test_worker_frames_round_trip(frame: frames.WorkerFrame) -> None:
    assert decode_worker(encode(frame)[LENGTH_BYTES:]) == frame


@pytest.mark.parametrize("frame", WORKER_FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_gateway_may_not_send_a_workers_frame(frame: frames.WorkerFrame) -> None:
    with pytest.raises(FrameError, match="not a gateway frame"):
        decode_gateway(encode(frame)[LENGTH_BYTES:])


@pytest.mark.parametrize("frame", GATEWAY_FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_worker_may_not_send_a_gateways_frame(frame: frames.GatewayFrame) -> None:
    with pytest.raises(FrameError, match="not a worker frame"):
        decode_worker(encode(frame)[LENGTH_BYTES:])


def test_an_announced_length_over_the_limit_is_refused_before_reading() -> None:
    assert body_length(MAX_FRAME_BYTES.to_bytes(LENGTH_BYTES, "big")) == MAX_FRAME_BYTES
    with pytest.raises(FrameError, match="limit"):
        body_length((MAX_FRAME_BYTES + 1).to_bytes(LENGTH_BYTES, "big"))


def test_a_frame_over_the_limit_is_not_sent() -> None:
    with pytest.raises(FrameError, match="limit"):
        encode(Hello(1, "g" * (MAX_FRAME_BYTES + 1)))


def test_unknown_fields_of_a_newer_peer_are_ignored() -> None:
    body = b"\x84\xa1t\xa5hello\xa7version\x01\xaagateway_id\xa1g\xa3new\x01"
    assert decode_gateway(body) == Hello(1, "g")


def test_a_number_that_msgpack_cannot_hold_is_a_frame_error() -> None:
    with pytest.raises(FrameError, match="Submit cannot be sent"):
        encode(Submit("r", 1, (1,), Sampling(1, seed=2**80)))


def test_text_that_is_not_unicode_is_a_frame_error() -> None:
    with pytest.raises(FrameError, match="Cancel cannot be sent"):
        encode(Cancel("\ud800", 1))


@pytest.mark.parametrize("body", [b"", b"\x81\xa1t\xa1\xff", b"\x91" * 100_000, b"\x81\xa1t\xa4none", b"\xc1"])
def test_what_is_no_frame_is_a_frame_error(body: bytes) -> None:
    for decode in (decode_gateway, decode_worker):
        with pytest.raises(FrameError):
            decode(body)
