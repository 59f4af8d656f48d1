"""A status is told at once after silence, and then not more often than somebody could read it."""

from tierline.fleet.observed import ObjectIdentity
from tierline.fleet.verdicts import Verdict
from tierline_operator.telling import Teller

OWNER = ObjectIdentity("WorkerPool", "demo", "chat-main", "uid-1", 1)
BAD = (Verdict("Available", False, "WorkersFailing", "No worker is ready."),)


class Written:
    """An actuator that remembers what it was to write."""

    def __init__(self):
        self.statuses, self.events = [], []

    async def write_status(self, _owner, _live, status, **_how):
        self.statuses.append(status["replicas"])

    async def post_event(self, _owner, notice):
        self.events.append(notice.reason)


def teller(written, clock):
    return Teller(written, 0.5, lambda: clock[0])


async def test_the_first_is_written_at_once_and_the_next_when_it_is_time():
    written, clock = Written(), [100.0]
    it = teller(written, clock)
    assert await it.tell(OWNER, {}, {"replicas": 1}, ()) is None
    clock[0] += 0.2
    left = await it.tell(OWNER, {}, {"replicas": 2}, ())
    assert abs(left - 0.3) < 1e-6
    clock[0] += left
    assert await it.tell(OWNER, {}, {"replicas": 3}, ()) is None
    assert written.statuses == [1, 3]


async def test_what_is_refused_is_told_at_once_with_its_event():
    written, clock = Written(), [0.0]
    it = teller(written, clock)
    it.told(OWNER.uid)
    await it.tell(OWNER, {}, {"replicas": 1}, BAD, at_once=True)
    assert (written.statuses, written.events) == ([1], ["WorkersFailing"])


async def test_a_status_that_says_the_same_is_not_written():
    written = Written()
    await teller(written, [0.0]).tell(OWNER, {"status": {"replicas": 1}}, {"replicas": 1}, BAD)
    assert (written.statuses, written.events) == ([], [])


async def test_nothing_is_kept_of_objects_that_are_quiet():
    written, clock = Written(), [0.0]
    it = teller(written, clock)
    for number in range(50):
        clock[0] += 1
        it.told(f"uid-{number}")
        await it.tell(OWNER, {}, {"replicas": number}, ())
    assert len(it._told_at) <= 2
