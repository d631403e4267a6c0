"""cnndsl compiles convolutional networks written as text. Importing it never imports torch."""

from cnndsl.compiler import Compilation, Program, compile, load, loads
from cnndsl.diagnostics import CnnError, Diagnostic
from cnndsl.limits import Limits

__all__ = [
    "CnnError",
    "Compilation",
    "Diagnostic",
    "Limits",
    "Program",
    "compile",
    "load",
    "loads",
]
__version__ = "0.1.0"
