"""How a claim is judged: one file for each kind of comparison."""
