"""Derivations, decisions, normal forms, expectations and index notation, for all statements."""
