"""Which workers hold which adapters."""
