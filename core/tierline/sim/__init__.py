"""Runs of the shipped policies without a cluster: workloads, clocks, faults."""
