"""LaTeX of formulas and of names."""
