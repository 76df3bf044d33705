"""How a statement is run: its parts, its evidence, the search for counterexamples, processes."""
