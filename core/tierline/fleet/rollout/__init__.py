"""How a change reaches the workers."""
