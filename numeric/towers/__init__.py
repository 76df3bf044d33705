"""Statements 1 to 5: towers, connections, operators and exact gradients in torch."""
