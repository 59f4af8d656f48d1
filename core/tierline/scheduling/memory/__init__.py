"""Blocks, what is shared between requests, and what becomes of those that yield."""
