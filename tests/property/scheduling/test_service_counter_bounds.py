"""Counters over forgetting, exchanges and churn: nobody gains by being forgotten, what was given is charged once."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tierline.scheduling.queueing.service_counters import Change, ServiceCounters
from tierline.scheduling.queueing.service_exchange import SharedService

SERVICES = st.integers(0, 500).map(float)
CHANGES = st.lists(st.one_of(SERVICES.map(lambda s: Change(s, s)), SERVICES.map(lambda s: Change(0.0, s))), max_size=6)


@given(SERVICES, CHANGES)
def test_changes_in_a_row_are_one_change(counter: float, changes: list[Change]) -> None:
    whole = Change()
    stepwise = counter
    for change in changes:
        whole = whole.then(change)
        stepwise = change.on(stepwise)
    assert whole.on(counter) == stepwise


class Forgetting(RuleBasedStateMachine):
    """Two sets of counters are told the same, one of which forgets; what it thinks is never less."""

    def __init__(self) -> None:
        super().__init__()
        self.full, self.small = ServiceCounters(), ServiceCounters(remembered=2)
        self.waiting: list[str] = []
        self.numbers = self.most = 0

    @rule(tenant=st.integers(0, 12).map(str))
    def comes(self, tenant: str) -> None:
        for counters in (self.full, self.small):
            counters.arrived(tenant, 1)
        self.waiting.append(tenant)
        self.most = max(self.most, len(set(self.waiting)))

    @rule(service=SERVICES, used=st.floats(0, 1))
    def is_served(self, service: float, used: float) -> None:
        if self.waiting:
            tenant, request_id = self.waiting.pop(0), str(self.numbers)
            self.numbers += 1
            for counters in (self.full, self.small):
                counters.prepay(request_id, tenant, service, service)
                counters.left(tenant, 1)
                counters.charge_output(request_id, tenant, service * used)
                counters.settle(request_id)

    @invariant()
    def nobody_gained(self) -> None:
        for tenant in map(str, range(13)):
            assert self.small.level(tenant) >= self.full.level(tenant) - 1e-6

    @invariant()
    def little_is_kept(self) -> None:
        assert len(self.small) <= 2 * max(2, self.most + 1)


TestForgetting = Forgetting.TestCase
TestForgetting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class Exchanging(RuleBasedStateMachine):
    """Three gateways over one store: every token that was given is in the merged counter exactly once."""

    @initialize()
    def start(self) -> None:
        self.hub = SharedService()
        self.gateways = {name: ServiceCounters() for name in "xyz"}
        self.given = dict.fromkeys("ab", 0.0)

    @rule(name=st.sampled_from("xyz"), tenant=st.sampled_from("ab"), service=SERVICES)
    def serves(self, name: str, tenant: str, service: float) -> None:
        self.gateways[name].charge(tenant, service)
        self.given[tenant] += service

    @rule(name=st.sampled_from("xyz"), meanwhile=SERVICES)
    def exchanges(self, name: str, meanwhile: float) -> None:
        counters = self.gateways[name]
        report = counters.begin_exchange()
        self.serves(name, "a", meanwhile)
        counters.adopt(self.hub.merge(name, report, 0.0))

    @rule(name=st.sampled_from("xyz"))
    def fails(self, name: str) -> None:
        self.gateways[name].begin_exchange()
        self.gateways[name].abandon_exchange()

    def teardown(self) -> None:
        for name, tenant in [(name, tenant) for name in "xyzxyz" for tenant in "ab"]:
            self.gateways[name].charge(tenant, 0.0)
            self.exchanges(name, 0.0)
        for counters in self.gateways.values():
            assert {tenant: counters.of(tenant) for tenant in "ab"} == self.given


TestExchanging = Exchanging.TestCase
TestExchanging.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
