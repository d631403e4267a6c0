"""What may be offered as one fix."""

from cnndsl.diagnostics import Fix

Offer = Fix | tuple[Fix, ...]
"""A fix, or several of which the first that holds is enough."""
