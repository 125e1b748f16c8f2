"""He, Pan, Chen and Yang 2025: multi-head softmax attention learns debiased gradient descent in context.

Letters of the paper: omega and mu are the key-query and output-value scales of a head, d the dimension of the covariates,
L the number of examples, sigma^2 the noise variance. Risks include the noise of the query once.
"""
