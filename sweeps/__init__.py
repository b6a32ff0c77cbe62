"""Sweeps over Marchenko–Pastur pruning: spec, plan, training, records, tracking, statistics."""
