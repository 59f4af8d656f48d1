"""What the gateways of a fleet know of each other: tenants' service counters, who waits where, parts of quotas."""
