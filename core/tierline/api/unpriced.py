"""Budgets that limit nothing, since no fleet says what the tenant's tokens cost."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from tierline.api.problems import FieldProblem
from tierline.api.quota import TenantQuota
from tierline.api.token_prices import TokenPrice


class Priced(Protocol):
    """What has prices by billing tier."""

    @property
    def prices(self) -> Mapping[str, TokenPrice]: ...


def unpriced_budgets(quotas: Iterable[TenantQuota], models: Iterable[Priced]) -> Iterator[FieldProblem]:
    """Name each budget that nothing would be booked against."""
    priced = {billing_tier for model in models for billing_tier in model.prices}
    for quota in quotas:
        budget, billing_tier = quota.spec.budget, quota.spec.billing_tier
        if budget is not None and budget.cents_per_day is not None and billing_tier not in priced:
            message = f"limits nothing: no LLMFleet has spec.tokenPrices of billingTier {billing_tier!r}; add them"
            title = f"TenantQuota {quota.metadata.namespace}/{quota.metadata.name}"
            yield FieldProblem("spec.budget.centsPerDay", message, title)
