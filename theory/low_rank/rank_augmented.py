r"""Rank-augmented linear attention: cost of the operator; its ranks are in ``ranks``.

Fan, Huang and He 2025 (arXiv 2411.07635).
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.linear_form import two_products
from attnlab.theory.costs.token_projections import head_projections


def module_parameters(width: int) -> int:
    """Numbers of the public module, 5 C^2 + 31 C: four and one projections with biases, a 5 x 5 depthwise kernel with bias."""
    check_count(width=width)
    return 4 * width * (width + 1) + 26 * width + width * (width + 1)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: five projections; per head two products, the global scores n d and the normaliser n d."""
    core = two_products(sizes.n, sizes.n, sizes.d, sizes.d) + 2 * sizes.n * sizes.d
    return head_projections(sizes, 5) + sizes.n_heads * core
