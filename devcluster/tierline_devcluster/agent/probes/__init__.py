"""Startup, readiness and liveness probes: carried out, repeated, judged."""
