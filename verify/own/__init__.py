"""A user's own statements."""
