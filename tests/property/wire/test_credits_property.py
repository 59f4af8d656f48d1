"""Several gateways and one worker, with grants that arrive late, twice or never and capacity that changes."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tierline.wire.credits import CreditAccount, CreditIssuer, blocks_for
from tierline.wire.frames import Credits


class CreditMachine(RuleBasedStateMachine):
    @initialize(gateways=st.integers(1, 4), requests=st.integers(0, 16), blocks=st.integers(0, 200))
    def start(self, gateways: int, requests: int, blocks: int) -> None:
        self.accounts = [CreditAccount() for _ in range(gateways)]
        self.issuers = [CreditIssuer() for _ in range(gateways)]
        self.sent: list[list[Credits]] = [[Credits(0, 0)] for _ in range(gateways)]
        self.submits: list[list[int | tuple[int, int]]] = [[] for _ in range(gateways)]
        self.most = (requests // gateways, blocks // gateways)
        self.free = (requests, blocks)

    @rule(data=st.data())
    def grant(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.accounts) - 1))
        newer = self.issuers[index].grant(*self.free, len(self.accounts))
        assert newer.requests_total >= self.sent[index][-1].requests_total
        assert newer.blocks_total >= self.sent[index][-1].blocks_total
        self.sent[index].append(newer)

    @rule(data=st.data())
    def arrive_in_any_order(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.accounts) - 1))
        before = self.accounts[index].granted
        self.accounts[index].update(data.draw(st.sampled_from(self.sent[index])))
        assert self.accounts[index].granted.requests_total >= before.requests_total
        assert self.accounts[index].granted.blocks_total >= before.blocks_total

    @rule(data=st.data(), blocks=st.integers(1, 60))
    def dispatch(self, data: st.DataObject, blocks: int) -> None:
        index = data.draw(st.integers(0, len(self.accounts) - 1))
        if self.accounts[index].affords(blocks):
            self.accounts[index].spend(blocks)
            self.submits[index].append(blocks)

    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.accounts) - 1))
        returned = self.accounts[index].hand_back()
        assert (self.accounts[index].requests, self.accounts[index].blocks) == (0, 0)
        self.submits[index].append(returned)

    @rule(data=st.data())
    def frame_arrives(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.accounts) - 1))
        if self.submits[index]:
            frame = self.submits[index].pop(0)
            issuer = self.issuers[index]
            issuer.take_back(*frame) if isinstance(frame, tuple) else issuer.spend(frame)

    @rule(requests=st.integers(-2, 16), blocks=st.integers(-5, 200))
    def capacity_changes(self, requests: int, blocks: int) -> None:
        self.free = (requests, blocks)
        gateways = len(self.accounts)
        self.most = max(self.most[0], requests // gateways), max(self.most[1], blocks // gateways)

    @invariant()
    def nobody_holds_more_than_the_largest_share(self) -> None:
        if not hasattr(self, "accounts"):
            return
        for account, issuer, submits in zip(self.accounts, self.issuers, self.submits, strict=True):
            assert 0 <= account.requests <= self.most[0]
            assert 0 <= account.blocks <= self.most[1]
            under_way = [frame if isinstance(frame, tuple) else (1, frame) for frame in submits]
            assert account.spent_requests == issuer.spent_requests + sum(requests for requests, _ in under_way)
            assert account.spent_blocks == issuer.spent_blocks + sum(blocks for _, blocks in under_way)
            assert issuer.granted_requests - issuer.spent_requests <= self.most[0]
            assert issuer.granted_blocks - issuer.spent_blocks <= self.most[1]


TestCredits = CreditMachine.TestCase


def test_blocks_are_rounded_up() -> None:
    assert [blocks_for(tokens, 16) for tokens in (0, 1, 16, 17)] == [0, 1, 1, 2]
