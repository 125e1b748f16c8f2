"""Functions recorded once and evaluated exactly: in balls, in sympy, in floats."""
