"""Which nodes have which models, and how a new worker prefers them."""

from hypothesis import given
from hypothesis import strategies as st

from tierline.fleet.placement.weights import (
    AFFINITY_WEIGHT,
    MOST_NODES,
    MOST_PREFERRED,
    NOWHERE,
    CachedModel,
    NodeWeights,
    preferring,
)

POD = {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": []}}
REQUIRED = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": []}]}}


def test_the_newest_word_of_a_node_counts():
    known = NodeWeights().told("n1", {"a": 5, "b": 7}).told("n2", {"a": 6}).told("n1", {"b": 7})
    assert known.by_model().get("a", NOWHERE) == CachedModel(6, ("n2",))
    assert known.by_model().get("b", NOWHERE) == CachedModel(7, ("n1",))
    assert known.by_model().get("c", NOWHERE) == CachedModel()


def test_a_node_that_is_gone_is_forgotten_and_only_so_many_are_kept():
    known = NodeWeights().told("n1", {"a": 5}).told("n2", {"a": 5})
    assert known.among({"n2", "n3"}).by_model()["a"].nodes == ("n2",)
    for index in range(MOST_NODES):
        known = known.told(f"m{index}", {"a": 5})
    assert len(known.nodes) == MOST_NODES
    assert "n1" not in known.nodes


def test_the_preference_stands_beside_what_is_required():
    made = preferring({**POD, "spec": {"affinity": {"nodeAffinity": REQUIRED}}}, {"n2", "n1"})
    node = made["spec"]["affinity"]["nodeAffinity"]
    assert node["requiredDuringSchedulingIgnoredDuringExecution"] == next(iter(REQUIRED.values()))
    (preferred,) = node["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["weight"] == AFFINITY_WEIGHT
    assert preferred["preference"]["matchExpressions"][0]["values"] == ["n1", "n2"]
    assert preferring(POD, ()) == POD


@given(st.sets(st.text("abc", min_size=1, max_size=6), max_size=60))
def test_a_preference_never_requires_anything_and_is_bounded(hosts):
    node = preferring(POD, hosts)["spec"].get("affinity", {}).get("nodeAffinity", {})
    assert "requiredDuringSchedulingIgnoredDuringExecution" not in node
    terms = node.get("preferredDuringSchedulingIgnoredDuringExecution", [])
    assert len(terms) == bool(hosts)
    assert all(len(it["preference"]["matchExpressions"][0]["values"]) <= MOST_PREFERRED for it in terms)
