import pytest

from tierline.fleet.reading import read_node, read_pod


def raw_pod(status=None, **metadata):
    return {
        "metadata": {
            "name": "chat-main-12",
            "uid": "u",
            "creationTimestamp": "2026-11-21T10:00:00Z",
            "labels": {"tierline.dev/revision": "abc"},
            **metadata,
        },
        "spec": {"nodeName": "n1"},
        "status": status or {},
    }


def test_a_fresh_pod_reads_as_not_yet():
    pod = read_pod({"metadata": {"name": "chat-main-3", "uid": "u", "creationTimestamp": "2026-11-21T10:00:00Z"}})
    assert (pod.attempt, pod.node, pod.ready, pod.phase, pod.failure) == (3, "", False, "Pending", "")


def test_a_running_pod_is_read():
    conditions = [
        {"type": "Ready", "status": "True"},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T10:00:01Z"},
    ]
    pod = read_pod(raw_pod({"phase": "Running", "conditions": conditions}))
    assert (pod.attempt, pod.revision, pod.node, pod.ready) == (12, "abc", "n1", True)
    assert pod.scheduled_ms == pod.created_ms + 1000


@pytest.mark.parametrize(
    ("container", "told"),
    [
        (
            {"state": {"terminated": {"exitCode": 1, "message": "line one\nno such file\n"}}},
            "exited with code 1: no such file",
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            },
            "exited with code 137: OOMKilled",
        ),
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
            "ImagePullBackOff: no such image",
        ),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, ""),
        ({"state": {"running": {}}, "ready": True, "lastState": {"terminated": {"exitCode": 1}}}, ""),
        ({"state": {"terminated": {"exitCode": 0}}}, ""),
    ],
)
def test_why_a_pod_does_not_run_is_told_in_words(container, told):
    assert read_pod(raw_pod({"phase": "Running", "containerStatuses": [container]})).failure == told


def test_a_pod_that_the_node_refused_says_so():
    pod = read_pod(raw_pod({"phase": "Failed", "reason": "Unsupported", "message": "hostNetwork is not supported"}))
    assert pod.failure == "Unsupported: hostNetwork is not supported"


@pytest.mark.parametrize(("text", "deadline"), [("1700000000000", 1_700_000_000_000), ("soon", None)])
def test_the_published_deadline_is_read(text, deadline):
    assert read_pod(raw_pod(annotations={"tierline.dev/evacuate-by": text})).evacuate_by_ms == deadline


def test_a_node_is_read():
    node = read_node(
        {
            "metadata": {"name": "n1"},
            "spec": {"taints": [{"key": "tierline.dev/spot-notice", "value": "7", "effect": "NoSchedule"}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "Unknown"}, {"type": "PreemptScheduled", "status": "True"}]
            },
        }
    )
    assert (node.ready, node.taints, node.true_conditions) == (
        False,
        {"tierline.dev/spot-notice": "7"},
        frozenset({"PreemptScheduled"}),
    )
