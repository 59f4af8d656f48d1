"""Faults on purpose, and what must hold."""
