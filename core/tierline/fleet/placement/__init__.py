"""Where workers run: zones, supplies, accelerators, prices and interruptions."""
