r"""Random equal blocks of tokens: what a layer of them connects, paths through several, and the cost.

n tokens in c blocks of w = n/c, permuted at random in each layer. Derived; Hussain et al. 2023 (arXiv 2306.01705) for the scheme.
"""

from __future__ import annotations

import math

from attnlab.theory.checks import check_count


def shared_block_exact(n_tokens: int, n_blocks: int) -> float:
    """Chance that two tokens share a block, (w - 1)/(n - 1)."""
    return (_width(n_tokens, n_blocks) - 1) / (n_tokens - 1)


def two_layer_reach_exact(n_tokens: int, n_blocks: int) -> float:
    r"""Share of pairs of tokens that two layers connect, :math:`1 - \binom{n - w}{w} / \binom{n}{w}`.

    A block of the first and one of the second layer are connected if they share a token, and all pairs of blocks are of equal
    size, so the share is that of pairs of blocks that meet. :func:`two_layer_reach_approx` takes their tokens as independent.
    """
    n, w = n_tokens, _width(n_tokens, n_blocks)
    return 1 - math.comb(n - w, w) / math.comb(n, w)


def two_layer_reach_approx(n_tokens: int, n_blocks: int) -> float:
    r"""The published form, :math:`1 - (1 - 1/c)^w`."""
    return 1 - (1 - 1 / n_blocks) ** _width(n_tokens, n_blocks)


def paths_exact(n_tokens: int, n_blocks: int, n_layers: int) -> float:
    r"""Mean number of paths of l edges between two tokens, over all pairs, :math:`w^l / n = n^{l-1} c^{-l}`: no randomness is
    left."""
    check_count(n_layers=n_layers)
    return _width(n_tokens, n_blocks) ** n_layers / n_tokens


def paths_to_oneself_exact(n_tokens: int, n_blocks: int, n_layers: int) -> float:
    r"""Mean number of paths of l edges from a token to itself: :math:`(w^l + (n - 1)(1 - q)^l)/n`, q the chance to share a block.

    The mean map of a layer is :math:`(1 - q) I + q\, 1 1^\top` with eigenvalues w and 1 - q, and layers are independent.
    """
    check_count(n_layers=n_layers)
    q = shared_block_exact(n_tokens, n_blocks)
    return (_width(n_tokens, n_blocks) ** n_layers + (n_tokens - 1) * (1 - q) ** n_layers) / n_tokens


def block_multiply_adds(n_tokens: int, dim: int, n_values: int, n_blocks: int) -> int:
    """Multiply-adds of attention inside c equal blocks, n w (d + d_v): the dense n^2 (d + d_v) over c."""
    check_count(dim=dim, n_values=n_values)
    return n_tokens * _width(n_tokens, n_blocks) * (dim + n_values)


def _width(n_tokens: int, n_blocks: int) -> int:
    check_count(at_least=2, n_tokens=n_tokens)
    check_count(n_blocks=n_blocks)
    if n_tokens % n_blocks:
        raise ValueError(f"n_blocks={n_blocks!r} must divide n_tokens={n_tokens!r}")
    return n_tokens // n_blocks
