"""Sweeps over many configurations, on this machine or on a Ray cluster."""
