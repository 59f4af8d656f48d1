"""`tierline bench gateway`: the gateway under load, in front of workers that only pretend, all on loopback."""
