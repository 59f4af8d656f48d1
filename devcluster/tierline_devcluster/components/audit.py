"""The API server's audit log: who of the cluster's own accounts asked for what, and was it granted.

Only service accounts other than Kubernetes' own are written down, without bodies: an operator, its gateways, a chart's
hooks. So the log tells which rights are used, and what is denied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

AUDIT_LOG = "audit.log"
_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: ["RequestReceived"]
rules:
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
"""
_DECISION = "authorization.k8s.io/decision"


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """One call: `resource` with its subresource behind a slash, empty for paths that are no resources."""

    user: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    denied: bool


def audit_flags(policy: Path, log: Path) -> list[str]:
    """Write the policy and return the API server's flags for it."""
    policy.write_text(_POLICY)
    return [f"--audit-policy-file={policy}", f"--audit-log-path={log}"]


def audited_calls(log: Path) -> Iterator[AuditedCall]:
    """Yield the calls that a log holds; a line that is being written is left out."""
    for line in log.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield _call(msgspec.json.decode(line, type=_Event))


class _Reference(msgspec.Struct, frozen=True):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    apiGroup: str = ""  # noqa: N815 - as the API server writes it
    subresource: str = ""


class _User(msgspec.Struct, frozen=True):
    username: str = ""


class _Event(msgspec.Struct, frozen=True):
    verb: str
    user: _User
    objectRef: _Reference = _Reference()  # noqa: N815 - as the API server writes it
    annotations: dict[str, str] = {}


def _call(event: _Event) -> AuditedCall:
    about = event.objectRef
    return AuditedCall(
        user=event.user.username,
        verb=event.verb,
        group=about.apiGroup,
        resource="/".join(part for part in (about.resource, about.subresource) if part),
        namespace=about.namespace,
        name=about.name,
        denied=event.annotations.get(_DECISION) == "forbid",
    )
