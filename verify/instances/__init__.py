"""Instances of statements: what they hold, how they are sampled, saved and read."""
