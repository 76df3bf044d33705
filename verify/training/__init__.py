"""Evidence from trained networks."""
