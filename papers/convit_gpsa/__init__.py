"""Positional heads as convolutions: exact weights, convergence with locality, and gates that leave locality where it does
not pay."""
