"""Rewrites of a checked graph: the same function with fewer operations (docs/optimiser.md)."""
