"""Quantities in the field's units: MAC, parameters, KB of activations.

A MAC is one multiplication and one addition; 1 MAC = 2 FLOP. KB and MB are 1024-based.
"""

from __future__ import annotations

FLOAT32 = 4  # bytes

_LARGE = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "K"))


def scaled(count: int, unit: str) -> str:
    """Four digits and a prefix: ``4.089 GMAC``, ``15.47 GMAC``, ``560 MAC``."""
    for factor, prefix in _LARGE:
        if count >= factor:
            value = count / factor
            digits = 3 if value < 10 else 2 if value < 100 else 1
            return f"{value:,.{digits}f} {prefix}{unit}"
    return f"{count} {unit}"


def memory(count: int) -> str:
    """``40 B``, ``784.0 KB``, ``109.6 MB``."""
    if count < 1024:
        return f"{count} B"
    if count < 1024**2:
        return f"{count / 1024:,.1f} KB"
    return f"{count / 1024**2:,.1f} MB"
