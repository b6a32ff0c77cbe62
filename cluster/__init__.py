"""Machines for sweeps: local multi-node Ray, container image, cluster files, health checks."""
