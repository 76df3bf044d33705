"""Statements 6 and 7: latent trees, in symbols."""
