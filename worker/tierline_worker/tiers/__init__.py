"""The storage tiers below the KV arena: host memory and disk."""
