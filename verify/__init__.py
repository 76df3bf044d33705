"""Where the two sides meet: statements, their evidence and the verdicts."""
