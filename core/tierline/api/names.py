"""Names that the cluster, the parts and the documents share: group, labels, annotations, ports, environment."""

import hashlib

GROUP = "tierline.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "tierline"

LABEL_FLEET = f"{GROUP}/fleet"
LABEL_POOL = f"{GROUP}/pool"
LABEL_ROLE = f"{GROUP}/role"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_CAPACITY_TYPE = f"{GROUP}/capacity-type"
LABEL_ACCELERATOR = f"{GROUP}/accelerator"
LABEL_ZONE = "topology.kubernetes.io/zone"

ANNOTATION_EVACUATE_BY = f"{GROUP}/evacuate-by"
"""Epoch milliseconds by which a worker pod's streams must have left; set by the operator, read by gateways."""

LABEL_DRILLS = f"{GROUP}/drills"
DRILLS_ALLOWED = "allowed"
"""A fleet that bears this label may be drilled; no other is ever touched."""

TAINT_SPOT_NOTICE = f"{GROUP}/spot-notice"
"""Taint of a node about to be reclaimed; its value is the deadline in epoch seconds."""

FINALIZER = f"{GROUP}/operator"
FIELD_MANAGER = "tierline-operator"
STATUS_FIELD_MANAGER = "tierline-operator-status"

WORKER_WIRE_PORT = 7070
WORKER_HTTP_PORT = 7071
GATEWAY_HTTP_PORT = 8080
GATEWAY_ADMIN_PORT = 8081
OPERATOR_HTTP_PORT = 8082

HEADER_TIER = "x-tierline-tier"
HEADER_REASON = "x-tierline-reason"
HEADER_REQUEST_ID = "x-request-id"

_LABEL_LIMIT = 63


def label_value(name: str) -> str:
    """Return `name` as a legal label value; names over 63 characters keep a prefix and a hash of the whole."""
    if len(name) <= _LABEL_LIMIT:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=5).hexdigest()
    return f"{name[: _LABEL_LIMIT - len(digest) - 1]}-{digest}"
