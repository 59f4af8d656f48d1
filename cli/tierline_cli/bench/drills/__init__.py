"""`tierline bench drills`: every kind of drill, many times, on a real API server with nodes that only pretend."""
