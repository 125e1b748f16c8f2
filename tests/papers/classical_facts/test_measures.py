"""What the facts measure, against scipy and loops; the same code on tensors, batches and exact recordings."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.special import logsumexp, rel_entr, softmax
from scipy.stats import entropy

from attnlab.papers.classical_facts import measures
from attnlab.papers.classical_facts.setting import Setting

X, Y = (np.random.default_rng(seed).normal(size=6) * 2 for seed in (0, 1))
TOKENS = np.random.default_rng(2).normal(size=(5, 3))


@pytest.mark.parametrize(
    ("measured", "oracle"),
    [
        (lambda: measures.spread(torch.tensor(X)), np.ptp(X)),
        (lambda: measures.variance(torch.tensor(softmax(X)), torch.tensor(Y)), np.cov(Y, aweights=softmax(X), ddof=0)),
        (lambda: measures.softmax_from(torch.tensor(X)), softmax([*X, 0.0])),
        (lambda: measures.lse(torch.tensor(X)), logsumexp(X)),
        (lambda: measures.entropy(torch.tensor(X)), entropy(softmax(X))),
        (lambda: measures.divergence(torch.tensor(X), torch.tensor(Y)), rel_entr(softmax(X), softmax(Y)).sum()),
        (lambda: measures.length(torch.tensor(X)), np.linalg.norm(X)),
        (lambda: measures.diameter(torch.tensor(TOKENS)), pdist(TOKENS).max()),
        (lambda: measures.self_attention(torch.tensor(TOKENS)), softmax(TOKENS @ TOKENS.T, axis=1) @ TOKENS),
    ],
)
def test_measures_agree_with_scipy(measured, oracle):
    assert np.allclose(measured().numpy(), oracle, rtol=1e-12, atol=1e-14)  # a few dozen roundings of size 10


def test_divergence_is_not_symmetric():
    x, y = torch.zeros(3), torch.tensor([2.0, 0.0, 0.0])  # 0.474 against 0.433
    assert abs(measures.divergence(x, y) - measures.divergence(y, x)) > 0.01


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("dim", 2),
        ("budget", 0),
        ("budget", -1),
        ("score_dims", ()),
        ("score_dims", (4, 0)),
        ("n_pairs", 0),
        ("n_replicas", 0),
    ],
)
def test_a_bad_setting_is_named(field, bad):
    with pytest.raises(ValueError, match=field):
        Setting(**{field: bad})
