"""Cuts a byte stream into frame bodies."""

from collections.abc import Iterator

from tierline.wire.frames import LENGTH_BYTES, body_length


class FrameBuffer:
    """Collects received bytes until a frame is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add received bytes and yield each body that is complete; raises `FrameError` for an absurd length."""
        self._buffer += data
        while len(self._buffer) >= LENGTH_BYTES:
            end = LENGTH_BYTES + body_length(bytes(self._buffer[:LENGTH_BYTES]))
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[LENGTH_BYTES:end])
            del self._buffer[:end]
            yield body
