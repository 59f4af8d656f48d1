"""What the operator tells Prometheus about itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The operator's own metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "tierline_operator_reconciles", "Reconciliations, by kind.", ["kind"], registry=self.registry
        )
        self.errors = Counter(
            "tierline_operator_reconcile_errors",
            "Reconciliations that failed, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tierline_operator_reconcile_seconds",
            "Duration of a reconciliation in seconds, by kind.",
            ["kind"],
            buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        self.writes = Counter(
            "tierline_operator_writes",
            "Writes to the API server, by verb and kind.",
            ["verb", "kind"],
            registry=self.registry,
        )
        self.requests = Counter(
            "tierline_operator_requests",
            "Requests to the API server, by verb; watches count once.",
            ["verb"],
            registry=self.registry,
        )
        self.leader = Gauge("tierline_operator_leader", "1 while this replica is the leader.", registry=self.registry)
