r"""Multi-token attention: what a kernel over scores can tell that a sum of scores cannot.

Golovneva et al. 2025 (arXiv 2504.00927). Away from the mask
:math:`\kappa * S = \sum_{ab} \kappa_{ab} (\text{shift}_a Q)(\text{shift}_b K)^\top`: a kernel of rank r is r pairs of
short convolutions of queries and keys, and :math:`\mathrm{rank}(\kappa * S) \le \min(n, d\, \mathrm{rank}\,\kappa)`.
Uncorrelated scores grow in variance by :math:`|\kappa|_F^2`. A head that adds two match scores per key ties all tokens
that match either letter: on blocks of B letters, one of which holds both letters of the query, its accuracy is the
mean share of the block's matches in all matches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attnlab.theory.checks import check_count


def mixed_rank(n_tokens: int, dim: int, kernel: np.ndarray) -> int:
    """Largest rank of the convolved scores, reached by generic queries and keys."""
    return min(n_tokens, dim * int(np.linalg.matrix_rank(np.asarray(kernel, float))))


def variance_gain(kernel: np.ndarray) -> float:
    """Variance of a mixed score over that of uncorrelated ones, the kernel's sum of squares."""
    return float(np.square(kernel).sum())


def tied_accuracy_exact(n_blocks: int, block: int, letters: int, draws: int, seed: int) -> np.ndarray:
    r"""Shares (draw,) of the right block's matches in all matches, letters of a block distinct; their mean is the accuracy.

    The right block holds both letters of the query, two matches; another block holds a letter with probability
    :math:`B/A`, both only with the probability of the rest of the draw: blocks that hold both are left out, as one
    block is right.
    """
    check_count(n_blocks=n_blocks, block=block, letters=letters, draws=draws)
    rng = np.random.default_rng(seed)
    both = block * (block - 1) / (letters * (letters - 1))
    one = 2 * (block / letters - both)
    matches = rng.binomial(n_blocks - 1, one / (1 - both), size=draws)  # of the others, given that none holds both
    return 2 / (2 + matches)


def multiply_adds(
    sizes: Any, *, causal: bool = False, queries: int = 2, keys: int = 3, weights_too: bool = False
) -> int:
    """Multiply-adds of one call: explicit scores, one or two convolutions of them, weights on values."""
    per_pair = sizes.d + sizes.d_v + queries * keys * (2 if weights_too else 1)
    return sizes.n_heads * sizes.queries * sizes.n * per_pair


def state_numbers(sizes: Any, *, queries: int = 2, keys: int = 3, weights_too: bool = False) -> int:
    """Numbers per head that a decoder keeps: keys, values and the last queries of the kernel."""
    return sizes.n * (sizes.d + sizes.d_v) + (queries - 1) * sizes.d
