"""The development cluster: a real Kubernetes control plane and virtual nodes on one machine."""
