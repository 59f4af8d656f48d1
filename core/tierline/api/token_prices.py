"""What tokens cost the tenants of a fleet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from tierline.api.block import Block
from tierline.api.fields import Counter, Identifier


class TokenPriceSpec(Block):
    """The price list of one billing tier."""

    billing_tier: Identifier = Field(description="billingTier is the billingTier of the quotas that pay these prices.")
    prompt_cents_per_million: Counter = Field(
        description="promptCentsPerMillion is the price of a million prompt tokens, in cents."
    )
    output_cents_per_million: Counter = Field(
        description="outputCentsPerMillion is the price of a million output tokens, in cents."
    )


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """Cents per million tokens, which are millionths of a cent for each: sums are exact in whole numbers."""

    prompt_cents: int = 0
    output_cents: int = 0

    def microcents(self, prompt_tokens: int, output_tokens: int) -> int:
        """Return what these tokens cost, in millionths of a cent."""
        return prompt_tokens * self.prompt_cents + output_tokens * self.output_cents


FREE: Final = TokenPrice()


def by_billing_tier(specs: Iterable[TokenPriceSpec]) -> Mapping[str, TokenPrice]:
    """Return the prices by the billing tier that pays them."""
    return {
        spec.billing_tier: TokenPrice(spec.prompt_cents_per_million, spec.output_cents_per_million) for spec in specs
    }
