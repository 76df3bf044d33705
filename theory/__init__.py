"""What the mathematics says: derivations in SymPy, each a chain of checked steps."""
