"""Marchenko–Pastur pruning of torch modules."""
