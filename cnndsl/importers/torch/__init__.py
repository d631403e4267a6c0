"""PyTorch modules as text: traced with ``torch.export``, recognised, named, proven."""
