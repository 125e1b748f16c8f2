"""Posteriors over who attends to whom: marginals of edges under priors over structures, and what estimates make of them."""
