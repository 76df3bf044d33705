"""Statements of other papers and of other versions of the paper, derived with what the seven statements need."""
