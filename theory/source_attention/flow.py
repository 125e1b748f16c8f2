r"""Flat causal attention, layer on layer: how much of what position n + t holds started in the n source tokens.

A layer replaces every token by the mean of those up to it; source tokens count as source from the start.
"""

from __future__ import annotations

import math

import numpy as np

from attnlab.theory.checks import check_count, check_share


def source_flow_exact(n_source: int, n_target: int, n_layers: int) -> float:
    r"""Share of the linear flow to the last target token that started in the source, after L layers.

    .. math:: f_L = P(N \le L - 1), \qquad N = \sum_{i=n+1}^{n+t} G_i, \quad P(G_i = k) = (1 - 1/i)\, i^{-k}

    the G_i independent. Why: the share g that has not reached the source obeys :math:`i\, g_L(i) - (i-1)\, g_L(i-1) =
    g_{L-1}(i)`, so
    its generating function in L is a product of :math:`(1 - 1/i) / (1 - z/i)`.
    """
    return float(_hops(n_source, n_target, n_layers)[:n_layers].sum())


def source_flow_limit(ratio: float, n_layers: int) -> float:
    r"""Long sources, :math:`t / n` held: :math:`P(\mathrm{Poisson}(x) \le L - 1)`, :math:`x = \ln (1 + t / n)`.

    The direct share :math:`e^{-x} = n / (n + t)` falls, and yet from :math:`L > x + 2 \sqrt x` on nearly everything comes
    from the source.
    """
    check_count(n_layers=n_layers)
    x = math.log1p(ratio)
    return math.exp(-x) * sum(x**k / math.factorial(k) for k in range(n_layers))


def lazy_flow_exact(n_source: int, n_target: int, n_layers: int, mixing: float) -> float:
    r"""The same with a residual, each layer :math:`(1 - \lambda) x + \lambda A x`: the mean of f_K over K binomial(L,
    lambda), f_0 = 0."""
    check_share(mixing=mixing)
    below = np.concatenate([[0.0], np.cumsum(_hops(n_source, n_target, n_layers)[:n_layers])])
    weights = [math.comb(n_layers, k) * mixing**k * (1 - mixing) ** (n_layers - k) for k in range(n_layers + 1)]
    return float(np.dot(weights, below))


def stack_sensitivity_exact(n_source: int, n_target: int, n_layers: int, dim: int) -> float:
    r"""Mean squared Frobenius norm of d output / d source tokens, of the last target token, of flat layers with a residual.

    .. math:: E \lVert J \rVert^2 = d \sum_{k=1}^{L} \binom{L}{k} \sum_{s \le n} \big((A^k)_{n+t, s}\big)^2, \qquad
        x \leftarrow x + A x V_\ell

    with A the means over tokens up to each one and the entries of the :math:`V_\ell` independent of variance 1/d. Why: a path
    takes k of the L layers, a product of k independent matrices has mean squared norm d, and two different products have mean
    product 0.
    """
    check_count(n_source=n_source, n_target=n_target, n_layers=n_layers, dim=dim)
    places = np.arange(1, n_source + n_target + 1)
    row = (places == places[-1]).astype(float)
    total = 0.0
    for k in range(1, n_layers + 1):
        row = np.cumsum((row / places)[::-1])[::-1]  # row A
        total += math.comb(n_layers, k) * float(np.sum(row[:n_source] ** 2))
    return dim * total


def _hops(n_source: int, n_target: int, n_layers: int) -> np.ndarray:
    """Probabilities of N = 0, ..., L: power series of the product."""
    check_count(n_source=n_source, n_target=n_target, n_layers=n_layers)
    series = np.zeros(n_layers + 1)
    series[0] = 1.0
    for i in range(n_source + 1, n_source + n_target + 1):
        for k in range(1, n_layers + 1):  # times 1 / (1 - z / i)
            series[k] += series[k - 1] / i
        series *= 1 - 1 / i
    return series
