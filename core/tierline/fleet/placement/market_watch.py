"""What two looks at the cluster tell of spot markets: losses, launches that came to nothing, launches that worked.

A loss is a spot node whose end is announced for the first time, or one that vanished unannounced with workers of ours
on it (an empty node that goes was given back). A launch has failed when a worker waited longer than the patience for
its market, and has worked when one is ready there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tierline.fleet.placement.market import Market, Supply
from tierline.fleet.placement.planner import PlacedPod
from tierline.fleet.placement.spot_history import SpotHistory


@dataclass(frozen=True, slots=True)
class SpotSight:
    """Spot nodes at one look: their markets, which are about to go, and which hold workers of ours."""

    markets: Mapping[str, Market] = field(default_factory=dict)
    doomed: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()


def watch_markets(
    history: SpotHistory, before: SpotSight | None, now: SpotSight, pods: Sequence[PlacedPod], now_ms: int
) -> SpotHistory:
    """Return what is known after a look; without a look before there can be no loss."""
    known = frozenset({*now.markets.values(), *history.records})
    losses = Counter(_lost(before, now)) if before is not None else Counter[Market]()
    nodes = Counter(market for name, market in now.markets.items() if name not in now.doomed)
    history = history.observed(now_ms, nodes, losses)
    for market in losses:
        history = history.reclaimed(market, known)
    return _launches(history, pods, known, now_ms)


def _lost(before: SpotSight, now: SpotSight) -> Iterable[Market]:
    for name, market in before.markets.items():
        announced = name in now.doomed and name not in before.doomed
        vanished = name not in now.markets and name not in before.doomed and name in before.used
        if announced or vanished:
            yield market


def _launches(history: SpotHistory, pods: Sequence[PlacedPod], known: frozenset[Market], now_ms: int) -> SpotHistory:
    for pod in pods:
        if pod.supply is not Supply.SPOT or not pod.market.zone:
            continue
        if pod.ready:
            history = history.succeeded(pod.market)
        elif pod.waiting_ms > history.patience_ms(pod.market) and history.is_trusted(pod.market, now_ms):
            history = history.failed(pod.market, known, now_ms)
    return history
