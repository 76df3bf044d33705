"""Bounds on rounding and sampling errors."""
