"""What runs a rewritten graph: PyTorch, and whatever else is installed (docs/engines.md)."""
