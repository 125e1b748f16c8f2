"""Classical facts on softmax and attention: constants, entropies, limits, collapse, convergence."""
