"""Weights as expressions over the parameters that the text names (docs/optimiser.md)."""
