"""The components of a cluster as data: what they run, with which certificates and ports, and when they are ready."""
