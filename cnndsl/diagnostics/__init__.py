"""Diagnostics as values, and the ways to show them."""

from cnndsl.diagnostics.model import CnnError, Collector, Diagnostic, Edit, Fix, Label

__all__ = ["CnnError", "Collector", "Diagnostic", "Edit", "Fix", "Label"]
