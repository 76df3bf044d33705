"""Statements of other papers and of other versions of the paper; ``python -m verify.packs`` checks them all."""
