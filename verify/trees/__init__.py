"""Measures of statements 6 and 7."""
