"""Formulas in a paper's source: export, and whether they still are what is derived."""
