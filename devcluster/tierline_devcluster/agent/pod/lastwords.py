"""What a container said last, for its status: with `FallbackToLogsOnError`, the end of its log explains a failure."""

from pathlib import Path

from tierline_devcluster.agent.pod.spec import Container
from tierline_devcluster.agent.process.logfiles import tail_offset

_LINES = 80
_BYTES = 2048
"""As much as a kubelet keeps."""


def last_words(container: Container, log: Path, returncode: int) -> str:
    """Return the message of a container's end; empty after success and where the log is not asked for."""
    if returncode == 0 or container.termination_message_policy != "FallbackToLogsOnError":
        return ""
    try:
        with log.open("rb") as file:
            file.seek(tail_offset(file, _LINES))
            return file.read()[-_BYTES:].decode(errors="replace")
    except OSError:
        return ""
