"""The `tierline` command: demo, simulation, benchmarks and explanations; the only part that may import all others."""
