"""A loss of a user's own: is it in the family, its pair weight, statement 4; and what a torch function computes."""
