"""Statements of a user's own: a file of Python becomes statements with the evidence that the toolkit's own have."""
