"""Measurements, never tests: `python -m benchmarks.frontend` prints a table and writes csv."""
