"""Numerical studies; nothing outside of this folder imports it."""
