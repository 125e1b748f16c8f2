"""Attention as the marginal posterior of edges: one parent, other priors, permutations, Gaussian keys, iterated attention.

Sources: Singh and Buckley 2023; Vontobel 2013; Koo, Globerson, Carreras and Collins 2007.
"""
