"""What the operator knows of the cluster as a whole: room, prices, spot history, traffic; and what follows from it."""
