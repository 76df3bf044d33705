"""Formulas of statement 6 for a paper: export, and the check for drift."""
