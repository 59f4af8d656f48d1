"""Everything that the loops of one leadership share."""

from collections.abc import Callable
from dataclasses import dataclass

from tierline_operator.actuator import Actuator
from tierline_operator.adapter_reconciling import AdapterReconciler, AdapterSights
from tierline_operator.canary_figures import GatewayFigures
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.fallback import FallbackSource
from tierline_operator.capacity.keeping import Keeper
from tierline_operator.capacity.planning import Planner
from tierline_operator.capacity.sources import PodSource, SignalSource
from tierline_operator.cluster import Cluster
from tierline_operator.drill_reconciling import DrillReconciler
from tierline_operator.faults import Faults
from tierline_operator.flooding import Floods
from tierline_operator.looping import Looper
from tierline_operator.metrics import Metrics
from tierline_operator.policy_status import PolicyStatus
from tierline_operator.pool_reconciling import PoolReconciler
from tierline_operator.reconciling import Reconciler, epoch_ms
from tierline_operator.settings import Settings
from tierline_operator.stores import Stores
from tierline_operator.telling import STATUS_SECONDS
from tierline_operator.wakes import Wakes


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a leading operator, wired together."""

    settings: Settings
    cluster: Cluster
    stores: Stores
    reconciler: Reconciler
    pools: PoolReconciler
    adapters: AdapterReconciler
    drills: DrillReconciler
    floods: Floods
    policy: PolicyStatus
    planner: Planner
    looper: Looper

    @classmethod
    def build(
        cls, settings: Settings, cluster: Cluster, metrics: Metrics, step_down: Callable[[float], None]
    ) -> "Context":
        """Wire the parts; `step_down` gives leadership up for some seconds."""
        wakes, sights = Wakes(), AdapterSights()
        stores = Stores(cluster, settings.namespaces, wakes)
        actuator = Actuator(cluster, stores, metrics, settings.identity)
        book, floods = CapacityBook(), Floods()
        faults = Faults(stores, actuator, floods, step_down)
        return cls(
            settings=settings,
            cluster=cluster,
            stores=stores,
            reconciler=Reconciler(stores, actuator, settings.images, book=book, status_seconds=STATUS_SECONDS),
            pools=PoolReconciler(
                stores, actuator, settings.images, figures=GatewayFigures(), book=book, status_seconds=STATUS_SECONDS
            ),
            adapters=AdapterReconciler(stores, wakes, sights),
            drills=DrillReconciler(stores, actuator, faults, settings.identity),
            floods=floods,
            policy=PolicyStatus(stores, actuator, sights, f"{settings.namespace}/{settings.lease_name}"),
            planner=Planner(
                stores,
                actuator,
                book,
                source=_source(settings),
                keeper=Keeper(cluster, settings.namespace, settings.price_table, settings.learned_name),
                wakes=wakes,
                clock=epoch_ms,
                times=settings.planning,
                images=settings.images,
            ),
            looper=Looper(wakes, metrics, settings.resync_seconds),
        )


def _source(settings: Settings) -> SignalSource:
    if not settings.prometheus_url:
        return PodSource()
    from tierline_operator.capacity.prometheus_source import PrometheusSource  # noqa: PLC0415 - 12 MB, see there

    return FallbackSource(PrometheusSource(settings.prometheus_url), PodSource())
