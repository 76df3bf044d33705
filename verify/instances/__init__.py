"""Instances of statements: their values, their samples and their JSON form."""
