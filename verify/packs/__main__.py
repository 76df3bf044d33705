"""Check the statements of other papers: ``python -m verify.packs``."""

from verify.cli import run_packs

run_packs()
