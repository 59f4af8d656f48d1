"""`tierline bench scenario`: a simulator's scenario played on real workers behind the real gateway, on loopback."""
