"""Fixes that hold: each is made in memory and the whole program checked again.

A diagnostic brings a guess (a misspelt name) or its cause, from which changes are drawn up
here. Only those are kept after which its error is gone and no new one has come.
"""

from cnndsl.repair.mend import TRIED, Check, Findings, mend

__all__ = ["TRIED", "Check", "Findings", "mend"]
