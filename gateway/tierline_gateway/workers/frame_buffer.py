"""Frames out of a byte stream."""

from collections.abc import Iterator

from tierline.wire.frames import LENGTH_BYTES, body_length


class FrameBuffer:
    """Collects bytes as they come and yields whole frame bodies."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every body that `data` completes; raises `FrameError` for one over the limit."""
        self._bytes += data
        start = 0
        try:
            while len(self._bytes) - start >= LENGTH_BYTES:
                body = start + LENGTH_BYTES
                end = body + body_length(bytes(self._bytes[start:body]))
                if end > len(self._bytes):
                    break
                start = end
                yield bytes(self._bytes[body:end])
        finally:
            del self._bytes[:start]
