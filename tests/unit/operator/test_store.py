"""The picture of the cluster: what a gap in the watch, late news and our own writes may do to it."""

import pytest

from tierline_operator.store import Store


def obj(name="a", version=1, uid=None, owner=None, namespace="demo"):
    metadata = {"namespace": namespace, "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner}]
    return {"kind": "Pod", "metadata": metadata}


@pytest.fixture
def heard():
    return []


@pytest.fixture
def store(heard):
    def name_of(it):
        return it and f"{it['metadata']['name']}@{it['metadata']['resourceVersion']}"

    return Store(lambda before, now: heard.append((name_of(before), name_of(now))))


def take_list(store, items, version, namespace=None):
    store.keep_only({store.note(item) for item in items}, version, namespace)


def names(store):
    return sorted(it["metadata"]["name"] for it in store.all())


def test_what_vanished_during_a_gap_vanishes_with_the_next_list(store, heard):
    take_list(store, [obj("a"), obj("b")], "2")
    take_list(store, [obj("b")], "9")
    assert names(store) == ["b"]
    assert heard[-1] == ("a@1", None)


def test_a_write_of_ours_outlives_a_list_that_began_before_it(store):
    store.note(obj("new", version=8))
    take_list(store, [obj("a")], "7")
    assert names(store) == ["a", "new"]


def test_older_news_never_overwrites_newer(store, heard):
    store.note(obj("a", version=5))
    store.note(obj("a", version=4))
    assert store.get("demo", "a")["metadata"]["resourceVersion"] == "5"
    assert heard == [(None, "a@5")]


def test_late_news_of_a_deleted_object_does_not_bring_it_back(store):
    store.note(obj("a", version=5))
    store.forget(obj("a", version=6))
    store.note(obj("a", version=5))
    assert names(store) == []


def test_an_object_that_comes_back_into_the_selector_is_seen_again(store):
    store.forget(obj("a", version=6))
    store.note(obj("a", version=7))
    assert names(store) == ["a"]


def test_the_end_of_a_former_object_does_not_touch_its_successor(store):
    store.note(obj("a", version=9, uid="second"))
    store.forget(obj("a", version=8, uid="first"))
    assert names(store) == ["a"]


def test_objects_are_found_by_their_owner(store):
    store.note(obj("a", owner="pool-1"))
    store.note(obj("b", owner="pool-2"))
    assert [it["metadata"]["name"] for it in store.owned_by("pool-1")] == ["a"]
    store.note(obj("a", version=2, owner="pool-2"))
    assert store.owned_by("pool-1") == ()
    assert len(store.owned_by("pool-2")) == 2


def test_a_list_of_one_namespace_leaves_the_others_alone(store):
    take_list(store, [obj("a", namespace="one")], "1", "one")
    take_list(store, [obj("b", namespace="two")], "1", "two")
    take_list(store, [], "2", "one")
    assert names(store) == ["b"]


def test_who_owns_which_field_is_not_kept(store):
    told = obj("a")
    told["metadata"]["managedFields"] = [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]
    store.note(told)
    assert store.get("demo", "a") == obj("a")
    assert "managedFields" in told["metadata"], "what was told is its teller's"


def test_what_siblings_have_in_common_is_there_once(store):
    def pod(name, version, image, node):
        made = obj(name, version, owner="pool")
        return {**made, "spec": {"containers": [{"image": image}], "nodeName": node}}

    store.note(pod("a", 1, "worker:1", "n1"))
    store.note(pod("b", 2, "worker:1", "n2"))
    store.note(pod("c", 3, "worker:2", "n1"))
    first, second, third = (store.get("demo", name) for name in "abc")
    assert first["spec"]["containers"] is second["spec"]["containers"]
    assert [it["spec"]["nodeName"] for it in (first, second, third)] == ["n1", "n2", "n1"]
    assert third["spec"]["containers"] == [{"image": "worker:2"}]
    assert first["metadata"]["ownerReferences"] is second["metadata"]["ownerReferences"]
    store.note(pod("b", 4, "worker:1", ""))
    store.forget(first)
    assert store.get("demo", "b") == pod("b", 4, "worker:1", "")


def test_what_is_null_need_not_be_there_in_a_sibling(store):
    store.note({**obj("a", 1, owner="pool"), "spec": {"size": 1}})
    store.note({**obj("b", 2, owner="pool"), "spec": {"size": 1, "hint": None}})
    assert store.get("demo", "b")["spec"] == {"size": 1, "hint": None}
