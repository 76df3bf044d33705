"""Measures of statement 5."""
