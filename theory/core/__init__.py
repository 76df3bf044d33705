"""Derivations, decisions, normal forms, expectations and index notation, whatever the subject."""
