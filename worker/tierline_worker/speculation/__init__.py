"""Proposing tokens and verifying several of them at once."""
