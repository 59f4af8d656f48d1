"""The kinds that the operator reads and writes, and where the API server keeps them."""

from dataclasses import dataclass

from tierline.api.names import GROUP, LABEL_MANAGED_BY, MANAGED_BY, VERSION

OURS = f"{LABEL_MANAGED_BY}={MANAGED_BY}"


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """One kind: its API group and plural. `selector` limits what is read of it to our own objects."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True
    selector: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [f"namespaces/{namespace}"] if self.namespaced and namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join([root, *parts])


LLM_FLEET = ResourceKind("LLMFleet", GROUP, VERSION, "llmfleets")
WORKER_POOL = ResourceKind("WorkerPool", GROUP, VERSION, "workerpools")
TENANT_QUOTA = ResourceKind("TenantQuota", GROUP, VERSION, "tenantquotas")
FLEET_DRILL = ResourceKind("FleetDrill", GROUP, VERSION, "fleetdrills")
LORA_ADAPTER = ResourceKind("LoRAAdapter", GROUP, VERSION, "loraadapters")
SLO_TIER = ResourceKind("SLOTier", GROUP, VERSION, "slotiers", namespaced=False)
POD = ResourceKind("Pod", "", "v1", "pods", selector=OURS)
NODE = ResourceKind("Node", "", "v1", "nodes", namespaced=False)
SERVICE_ACCOUNT = ResourceKind("ServiceAccount", "", "v1", "serviceaccounts", selector=OURS)
SERVICE = ResourceKind("Service", "", "v1", "services", selector=OURS)
CONTROLLER_REVISION = ResourceKind("ControllerRevision", "apps", "v1", "controllerrevisions", selector=OURS)
DISRUPTION_BUDGET = ResourceKind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets", selector=OURS)
DEPLOYMENT = ResourceKind("Deployment", "apps", "v1", "deployments", selector=OURS)
ROLE = ResourceKind("Role", "rbac.authorization.k8s.io", "v1", "roles", selector=OURS)
ROLE_BINDING = ResourceKind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings", selector=OURS)
EVENT = ResourceKind("Event", "", "v1", "events")
SECRET = ResourceKind("Secret", "", "v1", "secrets")
CONFIG_MAP = ResourceKind("ConfigMap", "", "v1", "configmaps")
LEASE = ResourceKind("Lease", "coordination.k8s.io", "v1", "leases")

WATCHED: tuple[ResourceKind, ...] = (
    LLM_FLEET,
    WORKER_POOL,
    TENANT_QUOTA,
    LORA_ADAPTER,
    FLEET_DRILL,
    SLO_TIER,
    POD,
    NODE,
    SERVICE_ACCOUNT,
    SERVICE,
    DEPLOYMENT,
    ROLE,
    ROLE_BINDING,
    CONTROLLER_REVISION,
    DISRUPTION_BUDGET,
)
BY_KIND = {kind.kind: kind for kind in (*WATCHED, CONFIG_MAP, EVENT, LEASE)}
FLEET_CHILDREN: tuple[ResourceKind, ...] = (WORKER_POOL, SERVICE_ACCOUNT, SERVICE, DEPLOYMENT, ROLE, ROLE_BINDING)
