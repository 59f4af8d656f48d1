"""The operator: observes the cluster, asks `tierline.fleet` for a plan, applies it."""
