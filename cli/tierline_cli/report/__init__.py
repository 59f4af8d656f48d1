"""A run's HTML report: one file, no network, every number explained."""
