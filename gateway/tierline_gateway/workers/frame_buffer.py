"""Frames out of a byte stream."""

from collections.abc import Iterator

from tierline.wire.frames import LENGTH_BYTES, body_length


class FrameBuffer:
    """Collects bytes as they come and yields whole frame bodies."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every body that `data` completes; raises `FrameError` for one over the limit."""
        if not self._bytes and len(data) == LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "big"):
            # Nearly always one frame comes whole and alone; it needs no collecting.
            body_length(data[:LENGTH_BYTES])
            yield data[LENGTH_BYTES:]
            return
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
