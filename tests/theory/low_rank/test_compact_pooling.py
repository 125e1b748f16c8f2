"""Rankings of tokens by compact pooling under two contexts: equal or reversed, unless heads are normalised together."""

import numpy as np
import torch

from attnlab.kernels.operators.low_rank.compact_pooling import CompactPooling
from attnlab.kernels.operators.operator import Sizes, Tokens
from attnlab.theory.low_rank import compact_pooling as theory
from attnlab.theory.low_rank.pooling import largest_weight_bound


def ranked(operator, parameters, x):
    return operator.matrix(Tokens(x), parameters)[0, 0].argsort(-1)


def test_a_head_ranks_tokens_alike_or_reversed_in_every_context():
    """The context is moved by one extra token, far away in a direction that no head sees among the others."""
    m, D, n = 4, 6, 9
    x = torch.randn(1, 1, n, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain = CompactPooling(m, normalised=False)
    parameters = plain.initialise(Sizes(n=n, d=D, d_v=D), [torch.Generator().manual_seed(2)], torch.float64)
    q = parameters["token"][0]
    blind = torch.linalg.qr(q, mode="complete").Q[:, m:] @ torch.tensor([30.0, -50.0], dtype=torch.float64)
    y = x.clone()
    y[0, 0, -1] += blind  # moves the mean, not its own scores' direction
    signs = theory.ranking_agreement(parameters["context"][0], x[0, 0].mean(0), y[0, 0].mean(0))
    assert set(signs) == {-1.0, 1.0}
    first, second = ranked(plain, parameters, x).numpy(), ranked(plain, parameters, y).numpy()
    for i in range(m):
        assert (second[i] == (first[i] if signs[i] > 0 else first[i][::-1])).all()
    both = CompactPooling(m)
    first, second = ranked(both, parameters, x).numpy(), ranked(both, parameters, y).numpy()
    assert any((second[i] != first[i]).any() and (second[i] != first[i][::-1]).any() for i in range(m))
    assert both.matrix(Tokens(x), parameters).max() <= largest_weight_bound(np.array([n]))[0]
