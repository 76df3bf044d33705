"""Statements 6 and 7: tree networks, their operators, samples and metrics in torch."""
