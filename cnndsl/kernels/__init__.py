"""Triton kernels, one a file: what each takes, how it is launched, what it costs."""
