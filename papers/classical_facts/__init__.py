"""Classical facts on attention: Lipschitz constants, entropy, limits of temperature, identities, collapse, convergence.

Each fact is stated for all inputs: in the dimension of the setting by a search, and where possible also in one to three
dimensions with a proof (in ball arithmetic on a box, mostly up to 0.01, or by sympy). The small form may drop what is free,
such as the shift of the logits or their scale, or state a Lipschitz bound for the derivative; its verdict names the box.
Facts marked elementary are derived in the docstring of their bound.
"""
