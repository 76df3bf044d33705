"""The assumptions of the seven statements, dropped in turn: counterexamples, or how much was tried."""
