"""Conditions of tiers and quotas, written by one loop. These kinds get no finalizer: nothing hangs on them."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from tierline.api.adapter import LoRAAdapter
from tierline.api.decision_advice import advise
from tierline.api.meta import Resource
from tierline.api.parsing import parse
from tierline.api.policy import compile_policy
from tierline.api.problems import InvalidResource
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier
from tierline.fleet.adapters.status import adapter_status, adapter_verdicts, adapters_resolved
from tierline.fleet.observed import Manifest, ObjectIdentity
from tierline.fleet.reading import read_identity
from tierline.fleet.verdicts import Verdict, conditions_of, notices_of
from tierline_operator.actuator import Actuator
from tierline_operator.adapter_reconciling import AdapterSights, valid_adapters
from tierline_operator.cluster import ApiError
from tierline_operator.kinds import LORA_ADAPTER, SLO_TIER, TENANT_QUOTA
from tierline_operator.looping import Refused
from tierline_operator.observing import valid_tiers
from tierline_operator.reconciling import Clock, epoch_ms
from tierline_operator.stores import Stores
from tierline_operator.tier_writer import TierWriter

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Resource)


class PolicyStatus:
    """Tells every tier and every quota whether it can be used."""

    def __init__(
        self, stores: Stores, actuator: Actuator, sights: AdapterSights, install: str, *, clock: Clock = epoch_ms
    ) -> None:
        self._writer = TierWriter(install)
        self._stores = stores
        self._sights = sights
        self._actuator = actuator
        self._clock = clock

    async def look(self) -> float | None:
        """Write the conditions that have changed their meaning; raises `Refused` once every object had its turn.

        Returns when to look again although nothing woke us, in seconds.
        """
        known, tiers = frozenset(valid_tiers(self._stores)), self._stores[SLO_TIER].all()
        refusals = [
            *[await self._tell_tier(live, tier_verdicts(live, known)) for live in tiers],
            *[
                await self._try_to_tell(live, quota_verdicts(live, known, self._adapters_of(live)))
                for live in self._stores[TENANT_QUOTA].all()
            ],
            *[await self._tell_adapter(live) for live in self._stores[LORA_ADAPTER].all()],
        ]
        told = next((refusal for refusal in refusals if refusal), "")
        due_ms = self._writer.due_ms(tiers, self._clock())
        due = None if due_ms is None else due_ms / 1000
        if told:
            raise Refused(told, due)
        return due

    async def _tell_tier(self, live: Manifest, verdicts: tuple[Verdict, ...]) -> str:
        """Write a tier's status unless another install does."""
        now_ms = self._clock()
        status = self._writer.signed(_status(read_identity(live), verdicts, now_ms))
        if not self._writer.may_write(live, status, now_ms):
            return ""
        return await self._try_to_tell(live, verdicts, status)

    def _adapters_of(self, quota: Manifest) -> frozenset[str]:
        return frozenset(it.metadata.name for it in valid_adapters(self._stores, quota["metadata"]["namespace"]))

    async def _tell_adapter(self, live: Manifest) -> str:
        adapter, verdicts = _parsed(LoRAAdapter, live)
        if adapter is None:
            return await self._try_to_tell(live, verdicts)
        metadata, fleets = adapter.metadata, adapter.spec.fleet_refs
        seen = self._sights.of_adapter(metadata.namespace, fleets, metadata.name)
        verdicts = adapter_verdicts(seen)
        sights = [sight for sight in seen.values() if sight is not None]
        status = adapter_status(read_identity(live), verdicts, sights, self._clock())
        return await self._try_to_tell(live, verdicts, status)

    async def _try_to_tell(
        self, live: Manifest, verdicts: tuple[Verdict, ...], status: Mapping[str, Any] | None = None
    ) -> str:
        """Return why the server took no status for this object; empty when it did."""
        try:
            await self._tell(live, verdicts, status)
        except ApiError as error:
            # Whatever it is about this object, it is no reason to leave the others without their status.
            log.warning("no status for %s %s: %s", live["kind"], live["metadata"]["name"], error)
            return str(error) or f"HTTP {error.status}"
        return ""

    async def _tell(self, live: Manifest, verdicts: tuple[Verdict, ...], status: Mapping[str, Any] | None) -> None:
        owner = read_identity(live)
        if owner.deleting:
            return
        await self._actuator.write_status(owner, live, status or _status(owner, verdicts, self._clock()))
        for notice in notices_of(owner, verdicts):
            await self._actuator.post_event(owner, notice)


def tier_verdicts(live: Manifest, known: frozenset[str]) -> tuple[Verdict, ...]:
    """Return a tier's conditions; `known` are the tiers that can be used."""
    tier, refused = _parsed(SLOTier, live)
    if tier is None:
        return refused
    target = tier.spec.admission.degrade_to_ref if tier.spec.admission else None
    refs = (("spec.admission.degradeToRef", target),) if target else ()
    return (*_judged(refs, known), _recommended(tier))


def _recommended(tier: SLOTier) -> Verdict:
    """Say whether what the tier overrides goes with its objective; it is in force in either case."""
    objective = tier.spec.objective
    advice = advise(compile_policy([tier], (), ()).tiers[tier.metadata.name])
    if not advice:
        return Verdict("Recommended", True, "FollowsObjective", f"Everything goes with the objective {objective}.")
    message = "; ".join(str(each) for each in advice)
    return Verdict("Recommended", False, advice[0].reason, f"{message}. It is in force as declared.")


def quota_verdicts(
    live: Manifest, known: frozenset[str], adapters: frozenset[str] = frozenset()
) -> tuple[Verdict, ...]:
    """Return a quota's conditions; `known` are the tiers that can be used, `adapters` those of its namespace."""
    quota, refused = _parsed(TenantQuota, live)
    if quota is None:
        return refused
    judged = _judged(((f"spec.tierRefs[{index}]", name) for index, name in enumerate(quota.spec.tier_refs)), known)
    return (*judged, adapters_resolved(quota.spec.adapter_refs, adapters))


def _parsed(model: type[R], live: Manifest) -> tuple[R | None, tuple[Verdict, ...]]:
    try:
        return parse(model, live), ()
    except InvalidResource as invalid:
        message = "; ".join(str(problem).rstrip(".") for problem in invalid.problems) + "."
        accepted = Verdict("Accepted", False, "InvalidSpec", message)
        return None, (accepted, Verdict("Ready", False, accepted.reason, accepted.message, is_news=False))


def _judged(refs: Iterable[tuple[str, str]], known: frozenset[str]) -> tuple[Verdict, ...]:
    accepted = Verdict("Accepted", True, "Valid", "The spec is valid.")
    lost = [f"{path} names the tier {name!r}" for path, name in refs if name not in known]
    if not lost:
        resolved = Verdict("TiersResolved", True, "AllFound", "Every tier that is named exists.")
        return (accepted, resolved, Verdict("Ready", True, "Valid", "It is in force.", is_news=False))
    existing = ", ".join(sorted(known)) or "none"
    fix = f"create or correct it, or name one that is in force ({existing})"
    message = f"{'; '.join(lost)}, which does not exist or is not valid: {fix}."
    resolved = Verdict("TiersResolved", False, "TierNotFound", message)
    return (accepted, resolved, Verdict("Ready", False, resolved.reason, message, is_news=False))


def _status(owner: ObjectIdentity, verdicts: tuple[Verdict, ...], now_ms: int) -> Mapping[str, Any]:
    return {"observedGeneration": owner.generation, "conditions": conditions_of(owner, verdicts, now_ms)}
