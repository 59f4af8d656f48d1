"""The kinds that Tierline serves."""

from collections.abc import Mapping
from types import MappingProxyType

from tierline.api.adapter import LoRAAdapter
from tierline.api.drill import FleetDrill
from tierline.api.fleet import LLMFleet
from tierline.api.meta import Resource
from tierline.api.pool import WorkerPool
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier

KINDS: Mapping[str, type[Resource]] = MappingProxyType(
    {model.kind_name: model for model in (FleetDrill, LLMFleet, LoRAAdapter, SLOTier, TenantQuota, WorkerPool)}
)
