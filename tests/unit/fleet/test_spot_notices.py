import pytest
from fleet_builders import NOW, node

from tierline.fleet.placement.spot_notices import NODE_DELETION_LEAD_MS, SPOT_NOTICES, Sign, evacuation_deadline_ms


def test_a_node_without_a_notice_has_no_deadline():
    plain = node(taints={"kubernetes.azure.com/scalesetpriority": "spot"}, true_conditions=frozenset({"Ready"}))
    assert evacuation_deadline_ms(plain, NOW) is None


def test_our_own_taint_carries_the_deadline():
    assert evacuation_deadline_ms(node(taints={"tierline.dev/spot-notice": "1700000000"}), NOW) == 1_700_000_000_000


@pytest.mark.parametrize("value", ["", "soon", "-5", "١٢"])
def test_a_deadline_that_cannot_be_read_falls_back_to_the_shortest_notice(value):
    assert evacuation_deadline_ms(node(taints={"tierline.dev/spot-notice": value}), NOW) == NOW + 30_000


@pytest.mark.parametrize("notice", SPOT_NOTICES[1:], ids=lambda notice: notice.key)
def test_every_providers_notice_is_read(notice):
    doomed = (
        node(taints={notice.key: "x"}) if notice.sign is Sign.TAINT else node(true_conditions=frozenset({notice.key}))
    )
    assert evacuation_deadline_ms(doomed, NOW) == NOW + notice.lead_ms


def test_a_promised_deadline_is_kept_as_time_goes_on():
    doomed = node(taints={"karpenter.sh/disrupted": ""})
    assert evacuation_deadline_ms(doomed, NOW + 5000, promised_ms=NOW + 120_000) == NOW + 120_000


def test_an_announced_deadline_beats_a_promised_one():
    doomed = node(taints={"tierline.dev/spot-notice": "1700000000", "karpenter.sh/disrupted": ""})
    assert evacuation_deadline_ms(doomed, NOW, promised_ms=5) == 1_700_000_000_000


def test_a_node_that_is_being_deleted_is_left_too():
    assert evacuation_deadline_ms(node(deleting=True), NOW) == NOW + NODE_DELETION_LEAD_MS
