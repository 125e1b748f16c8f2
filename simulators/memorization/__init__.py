"""How many examples an attention layer fits: exact ranks, dimensions, trained layers."""
