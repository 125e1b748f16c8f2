"""Error against cost of every approximation of softmax attention in the atlas, on the same ensembles of scores."""
