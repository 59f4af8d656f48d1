"""Virtual nodes: their objects in the API, their heartbeat and their death."""
