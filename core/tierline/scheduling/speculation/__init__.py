"""How many tokens are drafted, and whether it pays."""
