"""Losses as expressions in distances: parsing, signs of derivatives, membership in the family, pair weights."""
