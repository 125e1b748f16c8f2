r"""FlexPrefill: the budget follows the entropy of a head, and the mass kept stays below the gamma asked for.

Lai et al. 2025 (arXiv 2502.20766). The tokens that hold gamma of a Gaussian row are the share
:math:`f(\gamma) = \Phi(\Phi^{-1}(\gamma) - s)`; taken as whole blocks of independent columns they hold :math:`\Phi(s_B - t)`,
:math:`t = \Phi^{-1}(1 - f)`, which is less than gamma: the tokens counted are scattered, the blocks taken are not.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.costs.visible import all_pairs
from attnlab.theory.sparse_selection.retained_mass import block_score_std, needed_share_limit, oracle_mass_limit


def budget_share_limit(score_std: float, gamma: float) -> float:
    """Share of the tokens that hold gamma, many keys."""
    return needed_share_limit(score_std, gamma)


def retained_mass_approx(score_std: float, gamma: float, block: int) -> float:
    """Mass of the best blocks of the budget f(gamma), independent columns; log-normal blocks, e^{s^2} << B."""
    return oracle_mass_limit(block_score_std(score_std, block), needed_share_limit(score_std, gamma))


def multiply_adds(
    sizes: Any, *, causal: bool = False, block: int = 1, gamma: float = 0.8, tau: float = 0.1, least: int = 1
) -> int:
    """Multiply-adds of this file: probe, pooled maps, and a mask on the dense product."""
    blocks = -(-sizes.n // block)
    probe = min(block, sizes.n) * sizes.n * sizes.d
    return sizes.n_heads * (probe + blocks * sizes.d + blocks**2 * sizes.d) + all_pairs(sizes)


def state_numbers(sizes: Any, *, block: int = 1, gamma: float = 0.8, tau: float = 0.1, least: int = 1) -> int:
    """Numbers per head that a decoder keeps: all keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
