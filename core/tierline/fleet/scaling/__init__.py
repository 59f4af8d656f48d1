"""How many workers there are, and whether promises can be kept at all."""
