"""What the API server's audit log says of the operator after the tests that came before: it was denied nothing.

Which granted rights it has used, and which not, is written to out/e2e/rights.json.
"""

import json
from pathlib import Path

import pytest
from e2e_cluster import Cluster
from e2e_house import OPERATOR, SYSTEM
from e2e_waiting import HANGS_SECONDS, eventually

from tierline_devcluster.components.audit import AUDIT_LOG, AuditedCall, audited_calls

ACCOUNT = f"system:serviceaccount:{SYSTEM}:{OPERATOR}"
REPORT = Path(__file__).parent.parent / "out" / "e2e" / "rights.json"


@pytest.mark.virtualnodes
async def test_the_operator_is_denied_nothing_and_its_rights_are_known(system: Cluster) -> None:
    assert system.virtual is not None
    log = system.virtual.log_dir / AUDIT_LOG

    async def at_work() -> list[AuditedCall]:
        calls = [it for it in audited_calls(log) if it.user == ACCOUNT]
        return calls if any((it.verb, it.resource) == ("list", "llmfleets") for it in calls) else []

    calls = await eventually(at_work, HANGS_SECONDS, "the operator reads fleets")
    assert [it for it in calls if it.denied] == []
    used, granted = {(it.verb, it.group, it.resource) for it in calls}, await _granted(system)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({"used": sorted(used), "unused": sorted(granted - used)}, indent=2) + "\n")


async def _granted(system: Cluster) -> set[tuple[str, str, str]]:
    """Return what the roles of the release give the operator."""
    paths = ("clusterroles", f"namespaces/{SYSTEM}/roles")
    roles = [await system.api.get(f"/apis/rbac.authorization.k8s.io/v1/{path}") for path in paths]
    ours = [it for listed in roles for it in listed["items"] if it["metadata"]["name"].startswith(OPERATOR)]
    return {
        (verb, group, resource)
        for role in ours
        for rule in role["rules"]
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
    }
