"""Measures of statements 1 to 4."""
