"""The Kubernetes edge: policy, keys and workers by list and watch."""
