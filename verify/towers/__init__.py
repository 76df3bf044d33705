"""Statements 1 to 4, on dense towers and finite populations: both sides of each in rationals, balls and floats."""
