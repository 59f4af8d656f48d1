"""Keeping the components alive together, ending them together, and leaving no process behind."""
