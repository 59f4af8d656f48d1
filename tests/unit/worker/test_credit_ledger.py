"""Room goes where it is wanted: gateways that hold back leave theirs to others, but none of it stays idle."""

from tierline.wire.credits import CreditAccount
from tierline.wire.frames import Credits, Demand
from tierline_worker.engine.ledger import UNUSED_SECONDS, CreditLedger

HOLD = Demand(holding=True)


class Room:
    """A ledger, and the accounts that its gateways keep; `requests` and `blocks` are free."""

    def __init__(self, gateways: int, requests: int = 12, blocks: int = 1200) -> None:
        self.ledger, self.free, self.now_s = CreditLedger(100), (requests, blocks), 0.0
        self.accounts = [CreditAccount() for _ in range(gateways)]
        for gateway in range(gateways):
            self.ledger.open(gateway)

    def hold(self, gateway: int, holding: bool = True) -> None:
        returned = self.accounts[gateway].hand_back() if holding else (0, 0)
        self.ledger.demand(gateway, Demand(holding, *returned))

    def granted(self) -> list[int]:
        """The requests that each gateway may send now."""
        for gateway, account in enumerate(self.accounts):
            account.update(self.ledger.grant(gateway, *self.free, self.now_s)[0])
        return [account.requests for account in self.accounts]


def test_what_is_free_is_shared_by_those_who_can_use_it() -> None:
    room = Room(3)
    assert room.granted() == [4, 4, 4]
    room.hold(1)
    room.hold(2)
    assert room.granted() == [12, 0, 0]
    room.hold(1, holding=False)
    assert room.granted() == [12, 6, 0]


def test_when_all_hold_back_all_share() -> None:
    room = Room(2)
    room.hold(0)
    room.hold(1)
    assert room.granted() == [6, 6]


def test_room_that_nobody_takes_is_granted_to_those_who_hold_back() -> None:
    room = Room(2)
    room.hold(1)
    assert room.granted() == [12, 0]
    room.now_s += UNUSED_SECONDS
    assert room.granted()[1] == 6


def test_a_full_worker_is_not_an_unused_one() -> None:
    room = Room(2, requests=0)
    room.hold(1)
    assert room.granted() == [0, 0]
    room.now_s += 10 * UNUSED_SECONDS
    room.free = (1, 100)
    assert room.granted() == [1, 0]


def test_who_takes_room_keeps_it_for_itself() -> None:
    room = Room(2)
    room.hold(1)
    room.granted()
    for _ in range(3):
        room.now_s += 0.9 * UNUSED_SECONDS
        room.accounts[0].spend(1)
        room.ledger.spend(0, 1)
        assert room.granted()[1] == 0


def test_what_is_handed_back_counts_as_spent_on_both_sides() -> None:
    room = Room(1)
    room.granted()
    room.hold(0)
    assert room.accounts[0].granted == Credits(12, 1200)
    assert room.granted() == [12]
    assert room.accounts[0].granted == Credits(24, 2400)


def test_a_demand_of_a_gateway_that_left_changes_nothing() -> None:
    ledger = CreditLedger(100)
    ledger.demand(7, HOLD)
    assert len(ledger) == 0
