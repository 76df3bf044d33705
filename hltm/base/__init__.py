"""Shared by all four packages: errors, input validation, command-line frame, progress, atomic files."""
