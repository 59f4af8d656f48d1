"""What is read from an API server's audit log."""

import json

from tierline_devcluster.components.audit import AuditedCall, audited_calls


def line(verb, decision, **about):
    user = {"username": "system:serviceaccount:ops:operator"}
    annotations = {"authorization.k8s.io/decision": decision}
    return json.dumps({"verb": verb, "user": user, "objectRef": about, "annotations": annotations, "stage": "x"})


def test_calls_have_their_right_and_whether_it_was_denied(tmp_path):
    log = tmp_path / "audit.log"
    pools = {"resource": "workerpools", "subresource": "scale", "apiGroup": "tierline.dev", "namespace": "a"}
    whole = [line("patch", "allow", **pools, name="p"), line("list", "forbid", resource="secrets")]
    log.write_text("\n".join(whole) + "\n" + line("get", "allow")[:20])
    user = "system:serviceaccount:ops:operator"
    assert list(audited_calls(log)) == [
        AuditedCall(user, "patch", "tierline.dev", "workerpools/scale", "a", "p", denied=False),
        AuditedCall(user, "list", "", "secrets", "", "", denied=True),
    ]
