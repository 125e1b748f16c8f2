"""Random subsets of keys: moments of the output to second order, ensembles, blocks and the paths through layers of them."""
