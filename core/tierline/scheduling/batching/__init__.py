"""What an iteration computes."""
