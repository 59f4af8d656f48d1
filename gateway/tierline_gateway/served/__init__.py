"""The fleets that one gateway serves: its own, and those whose `spec.gateway.fleetRef` names that."""
