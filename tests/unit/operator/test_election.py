"""Who leads, on a Lease kept in memory and a clock moved by hand."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from quick_time import QuickTime

from tierline.fleet.wanted import Images
from tierline_operator.cluster import ApiError
from tierline_operator.election import Election
from tierline_operator.settings import Settings

SETTINGS = Settings(identity="a", namespace="ops", images=Images("w", "g"), lease_seconds=0.07)


class LeaseServer:
    """The one Lease, with the server's optimistic lock; `down` makes it unreachable."""

    def __init__(self):
        self.lease = None
        self.version = 0
        self.down = False
        self.asked = lambda: None

    async def request(self, call):
        self.asked()
        if self.down:
            raise ApiError(503, "ServiceUnavailable", "down")
        if call.method == "GET":
            if self.lease is None:
                raise ApiError(404, "NotFound", "no lease")
            return self.lease
        if call.method == "POST" and self.lease is not None:
            raise ApiError(409, "AlreadyExists", "exists")
        if call.method == "PUT" and call.body["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError(409, "Conflict", "changed")
        self.version += 1
        self.lease = {**call.body, "metadata": {**call.body["metadata"], "resourceVersion": str(self.version)}}
        return self.lease

    @property
    def holder(self):
        return self.lease["spec"]["holderIdentity"]


class Hand:
    now = 0.0

    def __call__(self):
        return self.now

    def move(self, seconds):
        self.now += seconds


def election(server, identity="a", clock=None):
    return Election(server, replace(SETTINGS, identity=identity), clock or Hand())


@pytest.fixture
def server():
    return LeaseServer()


async def waits(candidate):
    """Whether a candidate does not get the lease within several of its own tries."""
    try:
        await asyncio.wait_for(candidate.acquire(), SETTINGS.lease_seconds)
    except TimeoutError:
        return True
    return False


async def test_the_first_one_leads_and_the_second_waits(server):
    await election(server, "a").acquire()
    assert server.holder == "a"
    assert await waits(election(server, "b"))


async def test_a_released_lease_is_taken_at_once(server):
    first = election(server, "a")
    await first.acquire()
    await first.release()
    await election(server, "b").acquire()
    assert server.holder == "b"


async def test_a_renewal_that_arrives_late_does_not_keep_a_lease_from_being_released(server):
    first = election(server)
    await first.acquire()
    asked = []

    def renewed_between_reading_and_writing():
        asked.append(1)
        if len(asked) == 2:
            server.version += 1
            server.lease = {**server.lease, "metadata": {"resourceVersion": str(server.version)}}

    server.asked = renewed_between_reading_and_writing
    await first.release()
    assert server.holder == ""


async def test_a_lease_that_does_not_change_runs_out_by_the_waiters_own_clock(server):
    clock = Hand()
    await election(server, "a").acquire()
    second = election(server, "b", clock)
    assert await waits(second)
    clock.now = SETTINGS.lease_seconds + 0.01
    await second.acquire()
    assert server.holder == "b"


async def test_a_restarted_replica_of_the_same_name_goes_on(server):
    await election(server, "a").acquire()
    await election(server, "a").acquire()
    assert server.lease["spec"]["leaseTransitions"] == 0


async def test_a_leader_that_sees_another_one_gives_up(server):
    first = election(server, "a")
    await first.acquire()
    server.lease["spec"]["holderIdentity"] = "b"
    await asyncio.wait_for(first.hold(), 5)


async def test_a_leader_that_cannot_renew_gives_up_before_others_may_take_over(server):
    clock = Hand()
    first = election(server, "a", clock)
    await first.acquire()
    server.down = True
    server.asked = lambda: clock.move(SETTINGS.lease_seconds / 7)
    await asyncio.wait_for(first.hold(), 5)
    assert clock.now < SETTINGS.lease_seconds


async def hang():
    await asyncio.Event().wait()


@pytest.mark.parametrize("answers_before", [0, 1, 3, 20])
def test_a_leader_whose_server_hangs_stops_before_others_may_take_over(server, answers_before):
    renewals = []

    async def request(call):
        if len(renewals) > answers_before:
            await hang()
        answer = await LeaseServer.request(server, call)
        # The write is done at once, and told only after as long as a try may take.
        if call.method != "GET":
            renewals.append(loop.time())
            await asyncio.sleep(SETTINGS.lease_seconds / 4)
        return answer

    async def lead():
        first = election(server, "a", loop.time)
        await first.acquire()
        await first.hold()
        return loop.time()

    server.request = request
    with contextlib.closing(QuickTime()) as loop:
        gave_up = loop.run_until_complete(lead())
    assert len(renewals) == answers_before + 1
    assert gave_up - renewals[-1] <= SETTINGS.lease_seconds * 2 / 3 + 1e-6


async def test_two_releases_in_one_namespace_have_leases_of_their_own(server):
    candidate = Election(server, replace(SETTINGS, lease_name="blue"), Hand())
    await candidate.acquire()
    assert server.lease["metadata"]["name"] == "blue"


async def test_release_leaves_anothers_lease_alone(server):
    first = election(server, "a")
    await first.acquire()
    server.lease["spec"]["holderIdentity"] = "b"
    await first.release()
    assert server.holder == "b"


async def test_the_time_of_renewal_is_universal(server):
    await election(server).acquire()
    assert server.lease["spec"]["renewTime"].endswith("Z")
