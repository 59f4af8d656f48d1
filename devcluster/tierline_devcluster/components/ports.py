"""Free TCP ports on the loopback interface, outside the range from which the kernel lends ports to clients."""

import random
import socket

from tierline_devcluster.errors import DevclusterError

FIRST_PORT = 20000
LAST_PORT = 29999


def free_ports(count: int, rng: random.Random | None = None) -> list[int]:
    """Return `count` different ports nobody listens on now; raises `DevclusterError` when there are too few."""
    candidates = list(range(FIRST_PORT, LAST_PORT + 1))
    (rng or random.SystemRandom()).shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    if len(found) < count:
        raise DevclusterError(f"only {len(found)} of {count} ports are free between {FIRST_PORT} and {LAST_PORT}")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
