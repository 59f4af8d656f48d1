import random
import socket

import pytest

from tierline_devcluster.components.ports import FIRST_PORT, LAST_PORT, free_ports
from tierline_devcluster.errors import DevclusterError


def test_ports_differ_and_lie_below_the_range_the_kernel_lends():
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(FIRST_PORT <= port <= LAST_PORT for port in ports)


def test_a_taken_port_is_left_out():
    first = free_ports(1, random.Random(7))[0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert first not in free_ports(20, random.Random(7))


def test_too_many_are_refused():
    with pytest.raises(DevclusterError, match="ports are free"):
        free_ports(LAST_PORT - FIRST_PORT + 2)
