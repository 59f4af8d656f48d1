"""`tierline bench operator`: the operator against a real API server with nodes that only pretend."""
